/** What is in an image, as data. */
import type { Architecture } from "./architectures.ts";

export const SUITES = ["trixie"] as const;
export type Suite = (typeof SUITES)[number];

/** Debian packages; what they depend on comes by itself. */
export const packagesFor = (architecture: Architecture): readonly string[] => [
  architecture.kernelPackage,
  "base-files",
  "base-passwd",
  "bash",
  "busybox-static",
  "ca-certificates",
  "conntrack",
  "conntrackd",
  "coreutils",
  "dash",
  "e2fsprogs",
  "findutils",
  "fping",
  "grep",
  "haproxy",
  "iproute2",
  "iputils-ping",
  "ipvsadm",
  "keepalived",
  "kmod",
  "libatomic1",
  "libstdc++6",
  "mount",
  "netbase",
  "nftables",
  "openssl",
  "procps",
  "sed",
  "socat",
  "systemd",
  "systemd-boot-efi",
  "systemd-repart",
  "systemd-sysv",
  "systemd-timesyncd",
  "udev",
  "util-linux",
];

/** What the agent runs, itself or by way of keepalived: an image without one of them is not built. */
export const AGENT_PROGRAMS: readonly string[] = [
  "bash",
  "blkid",
  "bridge",
  "fping",
  "haproxy",
  "ip",
  "ipvsadm",
  "keepalived",
  "mkfifo",
  "modprobe",
  "mount",
  "nft",
  "nsenter",
  "ping",
  "sh",
  "socat",
  "sysctl",
  "systemctl",
  "umount",
];

/** For --ssh-key: an image to look into. */
export const SSH_PACKAGES: readonly string[] = ["openssh-server", "less", "strace", "tcpdump", "vim-tiny"];

/**
 * Packages that others depend on for their installation, or for a part of them that is not used here. That no program
 * misses a library of theirs is checked when the image is built.
 */
export const NOT_NEEDED: ReadonlySet<string> = new Set([
  "adduser",
  "cpio",
  "debconf",
  "debianutils",
  "dracut-install",
  "gcc-14-base",
  "init-system-helpers",
  "initramfs-tools",
  "initramfs-tools-bin",
  "initramfs-tools-core",
  "klibc-utils",
  "libgdbm-compat4t64",
  "libgdbm6t64",
  "libklibc",
  "libsensors-config",
  "libsnmp-base",
  "linux-base",
  "login.defs",
  "logsave",
  "lsb-base",
  "openssl-provider-legacy",
  "passwd",
  "pci.ids",
  "perl-base",
  "perl-modules-5.40",
  "sysvinit-utils",
  "ucf",
]);

/** What of a package is for people at a desk, for other languages, or for an installer. */
export const UNWANTED =
  /^usr\/share\/(doc|man|locale|info|lintian|bug|bash-completion|zsh|i18n|perl5?|polkit-1|initramfs-tools|debconf|apport|menu|pixmaps|applications|readline|gdb|mime)\/|^usr\/lib\/udev\/hwdb\.|^usr\/lib\/systemd\/system-generators\/systemd-ssh-generator|^usr\/lib\/tmpfiles\.d\/(20-systemd|credstore|debian|haproxy|home|libselinux1|provision|x11)|^usr\/lib\/[^/]+\/(gconv|perl)|^var\/(lib\/dpkg|cache|log)\/|^usr\/lib\/(init|dracut|kernel|modprobe\.d\/aliases)|^etc\/(init\.d|rc\d|cron|logrotate\.d|default|kernel|initramfs|apt|dpkg|rsyslog\.d|ufw|update-motd\.d|network|pam\.d\/ch)/;

/** Where a package says under which licences it may be used; read for the manifest. */
export const COPYRIGHT = /^usr\/share\/doc\/([^/]+)\/copyright$/;

/** Units that systemd starts by itself, target -> units. What a package would have enabled is not, unless it is here. */
export const ENABLED: Readonly<Record<string, readonly string[]>> = {
  "local-fs.target": ["tmp.mount"],
  "sockets.target": [
    "systemd-journald-dev-log.socket",
    "systemd-journald.socket",
    "systemd-networkd.socket",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
  ],
  "sysinit.target": [
    "kmod-static-nodes.service",
    "systemd-journal-flush.service",
    "systemd-journald.service",
    "systemd-modules-load.service",
    "systemd-random-seed.service",
    "systemd-repart.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-setup.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
  ],
  "timers.target": ["systemd-tmpfiles-clean.timer"],
  "multi-user.target": [
    "amphora-agent.service",
    "amphora-bootstrap.service",
    "amphora-namespace.service",
    "amphora-power-button.service",
    "systemd-networkd.service",
  ],
};

/** Accounts of the packages' services, beyond those that every Debian has: name -> number. */
export const ACCOUNTS: Readonly<Record<string, { id: number; home: string; comment: string }>> = {
  haproxy: { id: 101, home: "/var/lib/haproxy", comment: "HAProxy" },
  sshd: { id: 102, home: "/run/sshd", comment: "OpenSSH" },
  "systemd-network": { id: 998, home: "/", comment: "systemd Network Management" },
  "systemd-timesync": { id: 997, home: "/", comment: "systemd Time Synchronization" },
};

/** Groups of devices and logs that udev's rules and systemd's tmpfiles name. */
export const GROUPS: Readonly<Record<string, number>> = {
  input: 995,
  sgx: 994,
  clock: 993,
  kvm: 992,
  render: 991,
  "systemd-journal": 999,
};

/** Kernel modules that find the root file system, on whatever a cloud attaches disks with. */
export const INITRD_MODULES: readonly string[] = [
  "ahci",
  "ata_piix",
  "hv_storvsc",
  "nvme",
  "sd_mod",
  "squashfs",
  "virtio_blk",
  "virtio_mmio",
  "virtio_scsi",
  "xen_blkfront",
];

/** Folders of kernel modules that no amphora uses. */
export const UNWANTED_MODULES =
  /\/kernel\/(sound|drivers\/(gpu|infiniband|media|staging|bluetooth|isdn|mtd|target|usb\/(gadget|serial)|video|vfio|md\/bcache|nvdimm|mmc|accel|comedi|iio)|fs\/(btrfs|xfs|ceph|nfs|nfsd|smb|cifs|gfs2|ocfs2|f2fs|jfs|reiserfs|ubifs|orangefs|afs|9p|bcachefs|ntfs3|exfat|hfs|hfsplus|ufs|minix|coda|dlm|lockd)|net\/(bluetooth|wireless|mac80211|ceph|sunrpc|rxrpc|tipc|can|nfc|rds|smc|openvswitch|9p|batman-adv|atm|dccp|lapb|x25|appletalk|ieee802154|6lowpan))\//;
