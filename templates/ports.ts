/** Ports of the data plane's own, at an amphora's own addresses. Listeners are at the VIPs: theirs may be the same. */

/** where HAProxy tells the other amphorae, and VRRP's check, that it serves */
export const ALIVE_PORT = 1112;
/** where HAProxy takes tables of clients and their members: its predecessor's, and other amphorae's */
export const TABLES_PORT = 1025;
/** where replicas take flows from each other (RFC 7348, 5) */
export const VXLAN_PORT = 4789;
