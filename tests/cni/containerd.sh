# A containerd of the test's own with its CNI, in namespaces that are the test's own; what it prints is judged by
# tests/cni/engines.rs. What is written to /etc, /opt, /var/lib and /run is in memory and goes with it.
set -e
dir=@DIR@ pipework=@PIPEWORK@
umount /sys/fs/cgroup/unified 2> /dev/null || true
mount -t tmpfs tmpfs /run
mkdir -p /run/netns "$dir/over"
mount -t tmpfs tmpfs "$dir/over"
for place in etc opt var/lib; do
  mkdir -p "$dir/over/$place" "$dir/over/$place.work"
  mount -t overlay -o "lowerdir=/$place,upperdir=$dir/over/$place,workdir=$dir/over/$place.work" overlay "/$place"
done
rm -rf /etc/cni /opt/cni
$pipework install cni --network lan > /dev/null
sed -i 's/192\.168\.1\./10.3.0./' /etc/cni/net.d/50-lan.conflist
ln -s /usr/lib/cni/loopback /opt/cni/bin/
tar -C @ROOT@ -cf "$dir/layer.tar" .
sum=$(sha256sum "$dir/layer.tar" | cut -d ' ' -f 1)
rootfs='{"type":"layers","diff_ids":["sha256:'$sum'"]}'
echo '{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":'"$rootfs"'}' > "$dir/config.json"
echo '[{"Config":"config.json","RepoTags":["docker.io/library/box:latest"],"Layers":["layer.tar"]}]' > "$dir/manifest.json"
tar -C "$dir" -cf "$dir/box.tar" config.json manifest.json layer.tar
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' > "$dir/config.toml"
containerd --config "$dir/config.toml" --root "$dir/root" --state /run/ctrd --address "$dir/sock" > "$dir/log" 2>&1 &
service=$!
trap 'kill $service; wait $service || true' EXIT
ctr() { command ctr -a "$dir/sock" "$@"; }
for n in $(seq 300); do ctr version > /dev/null 2>&1 && break; sleep 0.1; done
ctr image import "$dir/box.tar" > /dev/null
run() { ctr run --cni --snapshotter native --cgroup "" "$@"; }
echo "== runs"
run --rm docker.io/library/box:latest one sh -c 'ip -o -4 addr; ip route'
echo "== beside"
run -d docker.io/library/box:latest two sleep 1000
$pipework status
run --rm docker.io/library/box:latest three ip -o -4 addr show dev eth0
# One that runs in the background ctr leaves to others: its attachment is still there, and goes as any other.
$pipework detach default-two -i eth0
ctr task kill -s 9 two
echo "== left"
find /run/pipework -name '*.json' -not -path '*/pools/*'
ip -o link | grep -v ': lo:' || true
