// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only. Takes the permission to leave its network namespace from the phy of one Wi-Fi interface, as drivers
 * that are not built on mac80211 mostly have it. Unloading gives the permission back.
 */
#include <linux/module.h>
#include <net/cfg80211.h>

static char *interface = "wlan0";
module_param(interface, charp, 0);
MODULE_PARM_DESC(interface, "Wi-Fi interface of the first namespace whose phy is to stay");

static struct net_device *dev;

static int __init forbid(void)
{
	dev = dev_get_by_name(&init_net, interface);
	if (!dev)
		return -ENODEV;
	if (!dev->ieee80211_ptr) {
		dev_put(dev);
		return -EINVAL;
	}
	dev->ieee80211_ptr->wiphy->flags &= ~WIPHY_FLAG_NETNS_OK;
	return 0;
}

static void __exit allow(void)
{
	dev->ieee80211_ptr->wiphy->flags |= WIPHY_FLAG_NETNS_OK;
	dev_put(dev);
}
module_init(forbid);
module_exit(allow);

MODULE_DESCRIPTION("forbids a phy to leave its network namespace, for tests");
MODULE_LICENSE("GPL");
