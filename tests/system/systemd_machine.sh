#!/bin/sh
# What systemd_machine.py boots: first `enter CGROUP DIRECTORY CHECKOUT`; in namespaces, `boot` with the same.
set -eu
umask 022
step=$1 cgroup=$2 directory=$3 checkout=$4

enter() {
    # A cgroup namespace begins at the cgroup that its maker is in: nothing above it can be touched inside.
    echo $$ >"$cgroup/cgroup.procs"
    exec unshare --mount --pid --cgroup --ipc --uts --propagation private --fork --kill-child \
        /bin/sh "$0" boot "$cgroup" "$directory" "$checkout"
}

boot() {
    # /proc is still the old one, so this is the number by which the test knows us.
    read -r pid rest </proc/self/stat
    echo "$pid" >"$directory/pid"

    mount -t tmpfs -o mode=0755 machine "$directory"
    cd "$directory"
    mkdir changes scratch root
    mount -t overlay -o "lowerdir=/,upperdir=$directory/changes,workdir=$directory/scratch" machine root
    cd root
    file_systems
    devices
    mkdir -p usr/src/clientsync
    mount --bind "$checkout" usr/src/clientsync
    mount -o remount,bind,ro usr/src/clientsync
    units

    mkdir .outside
    pivot_root . .outside
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=other /bin/sh -c '
        cd /
        umount -l /.outside
        # As in any boot: credentials are mounted in a namespace of their own and have to show up in ours.
        mount --make-rshared /
        exec /lib/systemd/systemd --system --unit=machine.target --show-status=no'
}

file_systems() {
    mount -t proc -o nosuid,nodev,noexec proc proc
    mount -t sysfs -o nosuid,nodev,noexec,ro sysfs sys
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
    # Kernel settings belong to the host.
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t tmpfs -o mode=0755,nosuid,nodev run run
    mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp
    mkdir run/lock
}

devices() {
    mount -t tmpfs -o mode=0755,nosuid dev dev
    while read -r name major minor; do
        mknod -m 666 "dev/$name" c "$major" "$minor"
    done <<-END
	null 1 3
	zero 1 5
	full 1 7
	random 1 8
	urandom 1 9
	tty 5 0
	END
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,mode=0620,ptmxmode=0666 devpts dev/pts
    mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
}

# Nothing of the host is wanted but systemd itself and a journal in memory (that leaves audit to the host).
units() {
    rm -rf etc/systemd/system usr/lib/systemd/system-generators etc/systemd/system-generators var/log/journal
    find usr/lib/systemd/system -maxdepth 1 -name '*.wants' -exec rm -r {} +
    mkdir -p etc/systemd/system run/systemd/system etc/systemd/journald.conf.d
    echo 00000000000000000000000000c11e47 >etc/machine-id
    ln -s /dev/null etc/systemd/system/systemd-journald-audit.socket
    cat >etc/systemd/journald.conf.d/machine.conf <<-END
	[Journal]
	Storage=volatile
	RateLimitIntervalSec=0
	END
    cat >run/systemd/system/machine.target <<-END
	[Unit]
	Wants=systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service
	END
}

"$step"
