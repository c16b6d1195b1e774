# A Podman of the test's own with networks of CNI, in namespaces of mounts and network that are the test's own; what it prints is
# judged by tests/cni/engines.rs. What is written to /run and /var/lib is in memory and goes with it.
set -e
dir=@DIR@ pipework=@PIPEWORK@
umount /sys/fs/cgroup/unified 2> /dev/null || true
mount -t tmpfs tmpfs /run
mkdir -p /run/netns "$dir/over" "$dir/tmp"
mount -t tmpfs tmpfs "$dir/over"
mkdir "$dir/over/lib" "$dir/over/work"
mount -t overlay -o "lowerdir=/var/lib,upperdir=$dir/over/lib,workdir=$dir/over/work" overlay /var/lib
mkdir -p /var/lib/cni /var/lib/pipework
$pipework install cni --bin-dir "$dir/bin" --dir "$dir/net.d" > /dev/null
export CONTAINERS_CONF=$dir/containers.conf
# More open files than this the machine may not allow.
cat > "$CONTAINERS_CONF" << END
[network]
network_backend = "cni"
cni_plugin_dirs = ["$dir/bin", "/usr/lib/cni"]
network_config_dir = "$dir/net.d"
[engine]
events_logger = "file"
cgroup_manager = "cgroupfs"
runtime = "crun"
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
END
cat > "$dir/net.d/lan.conflist" << END
{ "cniVersion": "0.4.0", "name": "lan", "plugins": [
  { "type": "pipework", "bridge": "br7", "capabilities": { "ips": true, "mac": true },
    "ipam": { "type": "pipework", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.50", "gateway": "10.1.0.1" } } ] }
END
cat > "$dir/net.d/two.conflist" << END
{ "cniVersion": "1.0.0", "name": "two", "plugins": [
  { "type": "pipework", "bridge": "br8", "ipam": { "type": "pipework", "subnet": "10.2.0.0/24" } },
  { "type": "tuning", "sysctl": { "net.ipv4.conf.all.arp_ignore": "1" } } ] }
END
own="--root $dir/root --runroot $dir/run --tmpdir $dir/tmp --storage-driver vfs"
podman() { command podman $own "$@"; }
trap 'podman pod rm -f -a -t 0 > /dev/null 2>&1; podman rm -f -a -t 0 > /dev/null 2>&1' EXIT
tar -C @ROOT@ -c . | podman import -q - box > /dev/null
left() { find /run/pipework /var/lib/pipework -name '*.json'; ip -o link | grep -v ': lo:' || true; }
echo "== run"
podman run -d --network lan --name web box sleep 1000 > /dev/null
podman exec web ip -o -4 addr
podman exec web ip route
echo "== inspect"
podman inspect web --format '{{.NetworkSettings.Networks.lan.IPAddress}} {{.NetworkSettings.Networks.lan.Gateway}}'
echo "== status"
$pipework status
echo "== fixed"
podman run -d --network lan --ip 10.1.0.55 --mac-address 02:00:00:00:00:55 --name fixed box sleep 1000 > /dev/null
podman exec fixed ip -o addr
podman exec fixed ip link show eth0
echo "== taken"
podman run -d --network lan --ip 10.1.0.55 --name taken box sleep 1000 2>&1 || true
podman rm -f -t 0 taken > /dev/null
echo "== again"
podman restart -t 0 fixed > /dev/null
podman exec fixed ip -o -4 addr
echo "== networks"
podman run -d --network lan,two --name both box sleep 1000 > /dev/null
podman exec both ip -o -4 addr
echo "== connected"
podman network connect two web
podman exec web ip -o -4 addr
echo "== disconnected"
podman network disconnect two web
podman exec web ip -o -4 addr
echo "== pod"
podman pod create --network lan --name pod --infra-image box --infra-command "sleep 1000" > /dev/null
podman run -d --pod pod --name one box sleep 1000 > /dev/null
podman run -d --pod pod --name other box sleep 1000 > /dev/null
podman exec one ip -o -4 addr show dev eth0
podman exec other ip -o -4 addr show dev eth0
echo "== ends"
# Of one that ends by itself nothing is left, though nobody removes it.
podman run --network lan --name short box ip -o -4 addr show dev eth0
$pipework status | grep -c eth0
podman rm -f -t 0 web both fixed short > /dev/null
podman pod rm -f -t 0 pod > /dev/null
echo "== left"
left
echo "== killed"
# Podman is killed by its number at some moment of a run, and of a removal.
for n in $(seq @KILLS@); do
  command podman $own run -d --network lan,two --name killed box sleep 1000 > /dev/null 2>&1 &
  one=$!
  sleep 0.$(printf %03d $((n * 37 % 600)))
  kill -9 $one 2> /dev/null || true
  wait $one 2> /dev/null || true
  podman rm -f -t 0 killed > /dev/null 2>&1 || true
done
podman run -d --network lan --name web box sleep 1000 > /dev/null
# What Podman had not come to write down it does not know: its runtime's list says what is still there.
for net in lan two; do
  sed -e 's/"cniVersion": "[0-9.]*", "name"/"name"/' "$dir/net.d/$net.conflist" > /dev/null
  id=$(podman inspect web --format '{{.Id}}')
  CNI_COMMAND=GC CNI_PATH=/usr/lib/cni "$dir/bin/pipework" << END
{ "cniVersion": "1.1.0", "name": "$net", "type": "pipework", "bridge": "br7",
  "ipam": { "type": "pipework", "subnet": "10.$([ $net = lan ] && echo 1 || echo 2).0.0/24" },
  "cni.dev/valid-attachments": [{ "containerID": "$id", "ifname": "eth0" }] }
END
done
podman exec web ip -o -4 addr show dev eth0
$pipework status | grep -c eth0
podman rm -f -t 0 web > /dev/null
$pipework gc
echo "== end"
left
