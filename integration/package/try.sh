#!/bin/sh
# try.sh PACKAGE [OLDER]: what becomes of a machine on which the package is installed, used, upgraded, downgraded and
# removed. The machine is a folder that debootstrap fills, kept as an archive below the cache; needs root and a mirror of Debian.
#
# Proved at each step: the exit codes; that a file written over NFS by an independent client (libnfs) comes back
# byte for byte after each change of the package; that the unit is well formed and hardened; that a purge leaves what
# only this machine may have.
set -eu
package=$(realpath "$1")
older=${2:+$(realpath "$2")}
suite=bookworm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/package
root=$(mktemp -d /var/tmp/tidegate-package-XXXXXX)
port=${TIDEGATE_PORT:-22049}
served=

began=$(date +%s)
# With the seconds since the beginning.
say() { echo "package: $(($(date +%s) - began)) s: $*" >&2; }
surroundings="PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive"
# shellcheck disable=SC2086 # one word each
inside() { env -i $surroundings chroot "$root" "$@"; }

tidy_up() {
    [ -z "$served" ] || kill "$served" 2>/dev/null || true
    umount "$root/proc" 2>/dev/null || true
    umount "$root/dev" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap tidy_up EXIT

make_machine() {
    mkdir -p "$cache"
    # The smallest machine that has the units which ours goes by.
    machine=$cache/$suite-systemd
    if [ ! -e "$machine.tar" ]; then
        say "making a machine of $suite"
        rm -rf --one-file-system "$machine.new"
        debootstrap --variant=minbase --include=systemd "$suite" "$machine.new" >/dev/null
        tar -C "$machine.new" -cf "$machine.tar.new" .
        mv "$machine.tar.new" "$machine.tar"
        rm -rf --one-file-system "$machine.new"
    fi
    tar -C "$root" -xf "$machine.tar"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # The mirrors of this machine, each once.
    [ ! -e /etc/apt/sources.list ] && [ ! -e /etc/apt/sources.list.d ] || rm -f "$root/etc/apt/sources.list"
    [ ! -e /etc/apt/apt.conf.d ] || cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
    cp /etc/apt/sources.list "$root/etc/apt/sources.list" 2>/dev/null || true
    [ ! -e /etc/apt/sources.list.d ] || cp -r /etc/apt/sources.list.d/. "$root/etc/apt/sources.list.d/"
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    # Nothing may start by itself here.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    inside apt-get update -qq
}

install() {
    cp "$1" "$root/tmp/tidegate.deb"
    inside apt-get install -y -qq --no-install-recommends --allow-downgrades --reinstall /tmp/tidegate.deb >/dev/null
    inside tidegate --version >&2
}

start() {
    mkdir -p "$root/run/tidegate"
    inside chown tidegate:tidegate /run/tidegate
    # Not by the function: what runs in the background would be a shell, and the signals would reach that.
    # shellcheck disable=SC2086
    env -i $surroundings chroot "$root" setpriv --reuid=tidegate --regid=tidegate --clear-groups \
        tidegate serve >"$root/tmp/log" 2>&1 &
    served=$!
    tries=0
    until inside tidegate status >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 "$served" 2>/dev/null; then
            cat "$root/tmp/log" >&2
            say "it does not serve"
            exit 1
        fi
        sleep 0.1
    done
}

stop() {
    kill -TERM "$served"
    wait "$served"
    served=
}

# As the unit does it, on a machine that may lack /bin/kill.
reload() {
    command=$(sed -n 's/^ExecReload=//p' "$unit")
    inside setpriv --reuid=tidegate --regid=tidegate --clear-groups env "MAINPID=$served" /bin/sh -c "$command"
    tries=0
    until grep -q 'settings applied' "$root/tmp/log"; do
        tries=$((tries + 1))
        [ $tries -le 300 ] || { cat "$root/tmp/log" >&2; say "it does not load its settings again"; exit 1; }
        sleep 0.1
    done
}

place="nfs://127.0.0.1/files"
where="version=3&nfsport=$port&mountport=$port&uid=65534&gid=65534"
write() { nfs-cp "$1" "$place/$2?$where" >/dev/null; }
read_back() {
    rm -f "$root/tmp/back"
    nfs-cp "$place/$2?$where" "$root/tmp/back" >/dev/null
    cmp "$1" "$root/tmp/back"
}

for tool in debootstrap nfs-cp systemd-analyze; do
    command -v $tool >/dev/null || { say "$tool is needed (Debian: debootstrap libnfs-utils systemd)"; exit 1; }
done
make_machine
content=$(mktemp "$root/tmp/content-XXXXXX")
head -c 3000000 /dev/urandom >"$content"

say "installing"
install "$package"
[ "$(inside stat -c %U:%a /var/lib/tidegate)" = tidegate:700 ]
[ -e "$root/usr/share/man/man1/tidegate.1.gz" ] && [ -e "$root/usr/share/bash-completion/completions/tidegate" ]
unit=$(find "$root/lib/systemd" "$root/usr/lib/systemd" -name tidegate.service | head -n 1)
systemd-analyze verify --root="$root" tidegate.service 2>&1 | grep -i 'tidegate.service' | grep -v 'man tidegate' && exit 1
score=$(systemd-analyze security --offline=yes --no-pager "$unit" | sed -n 's/.*exposure level for .*: \([0-9.]*\).*/\1/p')
say "the unit's exposure is $score"
[ "$(printf '%s\n3.0\n' "$score" | sort -g | head -n 1)" = "$score" ]

say "setting up"
inside tidegate setup --yes --address file:///srv/repository --share files --listen "127.0.0.1:$port" >"$root/tmp/setup"
grep -q 'RECOVERY SHEET' "$root/tmp/setup"
[ "$(inside stat -c %U:%a /etc/tidegate/repository.key)" = tidegate:600 ]
grep -q /srv/repository "$root/etc/systemd/system/tidegate.service.d/paths.conf"
# The root of a new share belongs to root.
where="version=3&nfsport=$port&mountport=$port&uid=0&gid=0"
inside tidegate doctor >&2

say "serving"
start
write "$content" first
inside tidegate commit files >&2
read_back "$content" first
say "loading the settings again"
reload
stop

say "installing it again, over itself"
install "$package"
start
read_back "$content" first
write "$content" second
stop

if [ -n "$older" ]; then
    say "going back to the older package, and forth again"
    install "$older"
    start
    read_back "$content" second
    write "$content" third
    stop
    install "$package"
    start
    read_back "$content" third
    stop
fi

say "removing and purging"
inside apt-get remove -y -qq tidegate >/dev/null
[ ! -e "$root/usr/bin/tidegate" ] && [ -e "$root/etc/tidegate/tidegate.toml" ]
inside apt-get purge -y -qq tidegate >/dev/null
[ ! -e "$root/etc/tidegate/tidegate.toml" ]
[ -e "$root/etc/tidegate/repository.key" ] && [ -e "$root/var/lib/tidegate/journal" ]
say "passed"
