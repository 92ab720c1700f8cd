#!/bin/bash
# Runs the store contract and the probe against a real Ceph object gateway, in a plain bucket and in a
# versioned one, which ignores conditions; the claims about locks in one that locks; and those about storage
# classes, of which it has one more.
#
# usage: rgw.sh [PORT]
#
# Needs: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
# Listens on loopback only, on PORT (default 5800) and the sixty after it. Keeps everything in a temporary
# folder, in memory where Ceph can, and stops what it started. With CARGO_ARGS, tests are built with
# these arguments instead of --workspace.
set -euo pipefail

PORT=${1:-5800}
DIR=$(mktemp -d)
ACCESS_KEY=TIDEGATE-TEST
SECRET_KEY=for-tests-on-loopback-only
CLASS=COLD
ENDPOINT=http://127.0.0.1:$PORT
DAEMONS="client.rgw osd.0 mon.a"
START_SECONDS_MAX=120
export CEPH_CONF=$DIR/ceph.conf

stop() {
    for daemon in $DAEMONS; do
        local file=$DIR/$daemon.pid
        [ -s "$file" ] && kill "$(cat "$file")" 2>/dev/null || true
    done
    for _ in $(seq 100); do
        pgrep -F "$DIR/osd.0.pid" >/dev/null 2>&1 || pgrep -F "$DIR/mon.a.pid" >/dev/null 2>&1 || break
        sleep 0.1
    done
    rm -rf "$DIR"
}
trap stop EXIT

configure() {
    mkdir "$DIR/mon" "$DIR/osd"
    cat >"$CEPH_CONF" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = v2:127.0.0.1:$((PORT + 1))/0
mon_initial_members = a
ms_bind_msgr1 = false
ms_bind_port_min = $((PORT + 10))
ms_bind_port_max = $((PORT + 60))
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = $DIR/keyring
run_dir = $DIR
admin_socket = $DIR/\$name.asok
pid_file = $DIR/\$name.pid
log_file = $DIR/\$name.log
crash_dir = $DIR
mon_data = $DIR/mon
osd_data = $DIR/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
enable_experimental_unrecoverable_data_corrupting_features = memstore
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 2000
mon_allow_pool_size_one = true
mon_data_avail_warn = 1
mon_data_avail_crit = 1
osd_class_default_list = *
osd_class_load_list = *
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:$PORT
CONF
}

# start_gateway: until it answers.
start_gateway() {
    radosgw -n client.rgw </dev/null
    for _ in $(seq "$START_SECONDS_MAX"); do
        curl -s -o "$DIR/answer" "$ENDPOINT/" && return
        sleep 1
    done
    return 1
}

stop_gateway() {
    local process
    process=$(cat "$DIR/client.rgw.pid")
    kill "$process"
    # It holds its port for less long than the lock of its file.
    for _ in $(seq 600); do
        kill -0 "$process" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

start() {
    local ring=$DIR/keyring
    ceph-authtool --create-keyring "$ring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool "$ring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
    ceph-authtool "$ring" --gen-key -n client.rgw --cap mon 'allow *' --cap osd 'allow *'
    ceph-authtool "$ring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
    local fsid
    fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
    monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$((PORT + 1))]" "$DIR/monmap"
    ceph-mon -i a --mkfs --monmap "$DIR/monmap" --keyring "$ring"
    ceph-mon -i a </dev/null
    local osd
    osd=$(cat /proc/sys/kernel/random/uuid)
    ceph osd new "$osd"
    ceph-osd -i 0 --mkfs --osd-uuid "$osd"
    ceph-osd -i 0
    start_gateway
    # The first start makes zone and zone group; a class of theirs is known from the next on.
    radosgw-admin -n client.rgw zonegroup placement add --rgw-zonegroup=default \
        --placement-id=default-placement --storage-class="$CLASS"
    radosgw-admin -n client.rgw zone placement add --rgw-zone=default \
        --placement-id=default-placement --storage-class="$CLASS" --data-pool=default.rgw.cold.data
    stop_gateway
    start_gateway
    radosgw-admin -n client.rgw user create --uid=tidegate --display-name=tidegate \
        --access-key="$ACCESS_KEY" --secret="$SECRET_KEY"
}

# request METHOD PATH [BODY]: a signed request, with the header in HEADER if there is one.
request() {
    local body=${3:-}
    local digest
    digest=$(printf '%s' "$body" | sha256sum | cut -d' ' -f1)
    curl -sS --fail-with-body --aws-sigv4 aws:amz:us-east-1:s3 -u "$ACCESS_KEY:$SECRET_KEY" \
        -H "x-amz-content-sha256: $digest" ${HEADER:+-H "$HEADER"} -X "$1" ${body:+--data-binary "$body"} "$ENDPOINT/$2"
}

# check BUCKET yes|no: runs the tests of TEST; the probe must say whether conditions hold.
check() {
    TIDEGATE_TEST_S3=$ENDPOINT TIDEGATE_TEST_S3_BUCKET=$1 TIDEGATE_TEST_S3_CREATE_NEW=$2 \
    TIDEGATE_TEST_S3_ACCESS_KEY=$ACCESS_KEY TIDEGATE_TEST_S3_SECRET_KEY=$SECRET_KEY \
        cargo test --release ${CARGO_ARGS:---workspace} --test ${TEST:-store_live} -- --nocapture
}

configure
start >"$DIR/start.log" 2>&1 || { cat "$DIR/start.log"; exit 1; }
request PUT plain
request PUT versioned
request PUT 'versioned?versioning=' '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'
HEADER='x-amz-bucket-object-lock-enabled: true' request PUT locked
check plain yes
check versioned no
TIDEGATE_TEST_S3_LOCKED=locked TEST=store_locks check plain yes
TIDEGATE_TEST_S3_CLASS=$CLASS TEST=store_classes check plain yes
