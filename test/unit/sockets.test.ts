/** Who listens is read from the kernel's own table. Recorded from /proc/net/tcp and tcp6 of Linux 6.18, x86_64. */
import t from "tap";
import { parseListening } from "../../agent/dataplane/sockets.ts";

t.test("listening sockets are found among the others", async (t) => {
  const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     
   0: 05004D0A:0052 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 68711 1 0000000000000000 100 0 0 10 0                     
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 68712 1 0000000000000000 100 0 0 10 0                     
   2: 05004D0A:0050 01004D0A:C350 01 00000000:00000000 00:00000000 00000000     0        0 68713 1 0000000000000000 100 0 0 10 0                     
   3: 05004D0A:0050 01004D0A:C34E 06 00000000:00000000 03:00000B2C 00000000     0        0 0 3 0000000000000000                                      
`;
  t.strictSame(parseListening(tcp), [
    { address: "10.77.0.5", port: 82, inode: "68711" },
    { address: "0.0.0.0", port: 8080, inode: "68712" },
  ]);
});

t.test("IPv6 as well", async (t) => {
  const tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 55 1 0000000000000000 100 0 0 10 0
   1: 000077FD000000000000000005000000:0052 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 56 1 0000000000000000 100 0 0 10 0
`;
  t.strictSame(parseListening(tcp6), [
    { address: "::", port: 22, inode: "55" },
    { address: "fd77::5", port: 82, inode: "56" },
  ]);
});

t.test("no table, no sockets", async (t) => {
  t.strictSame(parseListening(""), []);
});
