/** Where things stand on an instance. Rendered files name these paths; nothing else decides them. */
export interface Layout {
  /** rendered configuration, root only */
  readonly configDir: string;
  /** sockets, process ids and other state that ends with the running system (tmpfs) */
  readonly runDir: string;
  /** certificates and keys (tmpfs) */
  readonly certificatesDir: string;
  readonly haproxy: {
    readonly user: string;
    readonly group: string;
    readonly chroot: string;
    /**
     * seconds that an old worker may go on serving its connections after a reload; then it ends, and cuts off those that
     * are left (configuration manual, 3.1 "hard-stop-after")
     */
    readonly hardStopAfter: number;
  };
  readonly keepalived: {
    /** as whom it runs the checks that are commands */
    readonly scriptUser: string;
  };
}

export const INSTANCE_LAYOUT: Layout = {
  configDir: "/etc/amphora",
  runDir: "/run/amphora",
  certificatesDir: "/run/amphora/certificates",
  haproxy: { user: "haproxy", group: "haproxy", chroot: "/var/lib/haproxy", hardStopAfter: 1800 },
  keepalived: { scriptUser: "nobody" },
};

/** The same layout below other folders, with settings of its own: several amphorae on one host, or a test. */
export function layoutIn(
  configDir: string,
  runDir: string,
  { hardStopAfter = INSTANCE_LAYOUT.haproxy.hardStopAfter }: { readonly hardStopAfter?: number } = {},
): Layout {
  const haproxy = { ...INSTANCE_LAYOUT.haproxy, hardStopAfter };
  return { ...INSTANCE_LAYOUT, configDir, runDir, certificatesDir: `${runDir}/certificates`, haproxy };
}
