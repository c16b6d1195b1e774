# A Podman of the test's own, in one mount namespace; what it prints is judged by tests/oci.rs.
set -e
dir=@DIR@/podman hooks=oci-hooks
own="--root $dir/root --runroot $dir/run --tmpdir $dir/tmp --storage-driver vfs --events-backend file --cgroup-manager cgroupfs"
podman() { command podman $own --runtime crun --hooks-dir "@DIR@/$hooks" "$@"; }
# More open files than this the machine may not allow.
options="--network none --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
mkdir -p "$dir"
service=
trap 'podman rm -f -a -t 0 > /dev/null 2>&1; [ -z "$service" ] || kill $service' EXIT
tar -C @ROOT@ -c . | podman import -q - box > /dev/null
# Runs a container to its end, and says what it said: of one that ends at once, `podman run` itself may miss it.
whole() {
  podman run -d --name short $options "$@" > /dev/null
  podman wait short > /dev/null
  podman logs short
  podman rm short > /dev/null
}
echo "== first"
whole --annotation pipework.lan="br0 10.1.1.2/24" box ip -o addr
podman run -d $options --name web --annotation pipework.lan="br0 10.1.1.3/24" box sh -c 'ip -o addr; sleep 1000' > /dev/null
echo "== status"
@PIPEWORK@ status
podman restart -t 0 web > /dev/null
echo "== again"
podman exec web ip -o addr
@PIPEWORK@ detach web
echo "== detached"
podman exec web ip -o link
echo "== plain"
whole box ip -o link
podman rm -f -t 0 web > /dev/null
echo "== labels"
(exec podman $own system service -t 0 "unix://$dir/sock" > /dev/null 2>&1) &
service=$!
for n in $(seq 300); do [ -S "$dir/sock" ] && break; sleep 0.1; done
hooks=oci-hooks-labels
whole --label pipework.lan="br0 10.1.1.4/24" box ip -o addr
