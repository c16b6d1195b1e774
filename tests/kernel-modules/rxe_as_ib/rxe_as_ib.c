// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only. Soft RoCE (rdma_rxe) runs over any Ethernet device, but calls its port Ethernet, and IPoIB wants
 * InfiniBand. This module makes the first port of one such device say that it is InfiniBand. It cannot be unloaded.
 */
#include <linux/module.h>
#include <rdma/ib_verbs.h>

static char *device = "rxe0";
module_param(device, charp, 0);
MODULE_PARM_DESC(device, "soft-RoCE device that is to look like InfiniBand");

static enum rdma_link_layer say_infiniband(struct ib_device *ib, u32 port)
{
	return IB_LINK_LAYER_INFINIBAND;
}

/* The driver's own takes the rtnl lock, under which IPoIB asks this when a child is made. */
static int say_active(struct ib_device *ib, u32 port, struct ib_port_attr *attr)
{
	const struct ib_port_immutable *fixed = &ib->port_data[port].immutable;

	attr->gid_tbl_len = fixed->gid_tbl_len;
	attr->pkey_tbl_len = fixed->pkey_tbl_len;
	attr->state = IB_PORT_ACTIVE;
	attr->phys_state = IB_PORT_PHYS_STATE_LINK_UP;
	attr->active_width = IB_WIDTH_1X;
	attr->active_speed = IB_SPEED_SDR;
	attr->max_mtu = IB_MTU_4096;
	attr->active_mtu = IB_MTU_2048;
	attr->max_msg_sz = 1 << 20;
	attr->max_vl_num = 1;
	attr->lid = 1;
	attr->sm_lid = 1;
	return 0;
}

static int __init dress(void)
{
	struct ib_device *ib = ib_device_get_by_name(device, RDMA_DRIVER_RXE);

	if (!ib)
		return -ENODEV;
	ib->ops.get_link_layer = say_infiniband;
	ib->ops.query_port = say_active;
	ib->port_data[1].immutable.core_cap_flags |= RDMA_CORE_CAP_PROT_IB;
	ib_device_put(ib);
	return 0;
}
module_init(dress);

MODULE_DESCRIPTION("lets soft RoCE pass for InfiniBand, for tests");
MODULE_LICENSE("GPL");
