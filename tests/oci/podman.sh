# A Podman of the test's own, in one mount namespace; what it prints is judged by tests/oci.rs.
set -e
dir=@DIR@/podman hooks=oci-hooks
podman() {
  command podman --root "$dir/root" --runroot "$dir/run" --tmpdir "$dir/tmp" --storage-driver vfs --events-backend file \
    --cgroup-manager cgroupfs --runtime crun --hooks-dir "@DIR@/$hooks" "$@"
}
# More open files than this the machine may not allow.
options="--network none --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
mkdir -p "$dir"
tar -C @ROOT@ -c . | podman import -q - box > /dev/null
echo "== first"
podman run --rm $options --name one --annotation pipework.lan="br0 10.1.1.2/24" box ip -o addr
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
podman run --rm $options box ip -o link
podman rm -f -t 0 web > /dev/null
echo "== labels"
podman system service -t 0 "unix://$dir/sock" 2> /dev/null &
service=$!
trap 'kill $service' EXIT
for n in $(seq 300); do [ -S "$dir/sock" ] && break; sleep 0.1; done
hooks=oci-hooks-labels
podman run --rm $options --name two --label pipework.lan="br0 10.1.1.4/24" box ip -o addr
