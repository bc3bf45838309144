/** What conntrack(8) 1.4.7 and 1.4.8 printed on Linux 6.12 and 6.18, with -o extended,ktimestamp,id. */

export const TCP =
  "ipv4     2 tcp      6 399999 ESTABLISHED src=10.100.120.201 dst=10.0.0.100 sport=24024 dport=81 packets=5 bytes=700 src=10.0.1.10 dst=10.0.0.100 sport=8080 dport=30024 packets=4 bytes=900 [ASSURED] mark=5 delta-time=0 [start=Wed Nov 25 03:47:52 2026] use=1 id=2488186466";
export const TCP6 =
  "ipv6     10 tcp      6 119 TIME_WAIT src=fd00::10 dst=fd00::100 sport=8128 dport=80 packets=8 bytes=586 src=fd00::32 dst=fd00::100 sport=8080 dport=8128 packets=5 bytes=412 [ASSURED] mark=2147483553 delta-time=1 [start=Wed Nov 25 03:59:00 2026] use=1 id=4070503102";
export const HALF_OPEN =
  "ipv4     2 tcp      6 119 SYN_SENT src=10.0.1.10 dst=10.0.1.100 sport=8128 dport=80 packets=1 bytes=60 [UNREPLIED] src=10.0.1.32 dst=10.0.1.100 sport=8080 dport=8128 packets=0 bytes=0 mark=5 delta-time=1 [start=Sun Nov  1 03:59:00 2026] use=1 id=7";
export const UDP =
  "ipv4     2 udp      17 29 src=10.0.1.10 dst=10.0.1.100 sport=8129 dport=53 packets=1 bytes=29 src=10.0.1.32 dst=10.0.1.100 sport=5353 dport=8129 packets=1 bytes=50 mark=2147483554 delta-time=2 use=1 id=99";
export const SCTP =
  "ipv4     2 sctp     132 209 ESTABLISHED src=10.0.1.10 dst=10.0.1.100 sport=5000 dport=80 packets=6 bytes=400 src=10.0.1.33 dst=10.0.1.100 sport=8080 dport=5000 packets=5 bytes=300 [ASSURED] mark=6 use=1 id=12";
export const DESTROYED =
  "[1795579150.199290]\t[DESTROY] ipv4     2 udp      17 27 src=10.0.1.10 dst=10.0.1.100 sport=9001 dport=53 packets=1 bytes=29 src=10.0.1.31 dst=10.0.1.100 sport=5353 dport=9001 packets=1 bytes=50 mark=2147483554 delta-time=2 [start=Wed Nov 25 03:59:08 2026] [stop=Wed Nov 25 03:59:10 2026] id=1439790256";
export const NOT_ENTRIES = [
  "",
  "conntrack v1.4.8 (conntrack-tools): 2 flow entries have been shown.",
  "ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 packets=1 bytes=84 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 packets=1 bytes=84 mark=0 use=1 id=5",
  "ipv4     2 tcp      6 119 SYN_SENT src=10.0.1.10 dst=10.0.1.100 sport=1 dport=2",
];
