/** What HAProxy printed for "show sess all": a TCP session, an HTTP one over IPv6, and its own command line's. */

const CLI = `0x7fa188042ff0: [25/Nov/2026:05:39:53.122007] id=3 proto=unix_stream source=unix:1
  flags=0x8, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=(nil), pend_pos=(nil) waiting=0 epoch=0x1
  frontend=GLOBAL (id=0 mode=tcp), listener=? (id=1) addr=unix:1
  backend=<NONE> (id=-1 mode=-)
  server=<NONE> (id=-1)
`;

export const HAPROXY_26 = `0x563e51f78ea0: [25/Nov/2026:05:39:51.534429] id=0 proto=tcpv4 source=127.0.0.1:52490
  flags=0x4a, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=0x563e51eb2cd0, pend_pos=(nil) waiting=0 epoch=0
  frontend=33333333-0000-4000-8000-000000000001 (id=2 mode=tcp), listener=? (id=1) addr=127.0.0.1:7100
  backend=44444444-0000-4000-8000-000000000001:tcp:5000:50000 (id=4 mode=tcp) addr=127.0.0.1:52034
  server=55555555-0000-4000-8000-000000000001 (id=1) addr=127.0.0.1:7102
  task=0x563e52097770 (state=0x00 nice=0 calls=2 rate=0 exp=3s tmask=0x1 age=2s)
  scf=0x563e52038000 flags=0x00000000 state=EST endp=CONN,0x563e52097680,0x028c0001 sub=1
      co0=0x563e52097290 ctrl=tcpv4 xprt=RAW mux=PASS data=STRM target=LISTENER:0x563e51eaeaa0
      flags=0x00000300 fd=14 fd.state=21 updt=0 fd.tmask=0x1
  scb=0x563e51fdcc80 flags=0x00000001 state=EST endp=CONN,0x563e52097b00,0x028c0001 sub=1
      co1=0x563e520978e0 ctrl=tcpv4 xprt=RAW mux=PASS data=STRM target=SERVER:0x563e51eb2cd0
      flags=0x10000300 fd=16 fd.state=10121 updt=0 fd.tmask=0x1
  req=0x563e51f78ec0 (f=0x848000 an=0x0 pipe=0 tofwd=-1 total=11)
      an_exp=<NEVER> rex=48s wex=<NEVER>
      buf=0x563e51f78ec8 data=(nil) o=0 p=0 i=0 size=0
  res=0x563e51f78f20 (f=0x80048202 an=0x0 pipe=0 tofwd=-1 total=13)
      an_exp=<NEVER> rex=47s wex=<NEVER>
      buf=0x563e51f78f28 data=(nil) o=0 p=0 i=0 size=0
0x7fa188041da0: [25/Nov/2026:05:39:51.534596] id=1 proto=tcpv6 source=::1:52118
  flags=0xc4a, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=(nil), pend_pos=(nil) waiting=0 epoch=0
  frontend=33333333-0000-4000-8000-000000000002 (id=3 mode=http), listener=? (id=2) addr=::1:7101
  backend=<NONE> (id=-1 mode=-)
  server=<NONE> (id=-1)
  task=0x7fa188042190 (state=0x00 nice=0 calls=2 rate=0 exp=3s tmask=0x2 age=2s)
  scf=0x7fa188041d30 flags=0x00000080 state=EST endp=CONN,0x7fa18803dc00,0x02804001 sub=1
  scb=0x7fa1880422b0 flags=0x00000011 state=INI endp=NONE,(nil),0x02800001 sub=0
  req=0x7fa188041dc0 (f=0x49c40080 an=0x8000 pipe=0 tofwd=0 total=47)
      an_exp=<NEVER> rex=<NEVER> wex=<NEVER>
  res=0x7fa188041e20 (f=0x80400000 an=0x1400000 pipe=0 tofwd=0 total=0)
      an_exp=<NEVER> rex=<NEVER> wex=<NEVER>
${CLI}
`;

export const HAPROXY_30 = `0x7f61f3083000: [25/Nov/2026:05:40:12.832523] id=7 proto=tcpv4 source=127.0.0.1:57762
  flags=0x4a, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=0x7f61f4066000, pend_pos=(nil) waiting=0 epoch=0
  frontend=33333333-0000-4000-8000-000000000001 (id=2 mode=tcp), listener=? (id=1) addr=127.0.0.1:7100
  backend=44444444-0000-4000-8000-000000000001:tcp:5000:50000 (id=4 mode=tcp) addr=127.0.0.1:59518
  server=55555555-0000-4000-8000-000000000001 (id=1) addr=127.0.0.1:7102
  task=0x7f61f31ba720 (state=0x00 nice=0 calls=2 rate=0 exp=3s tid=0(1/0) age=2s)
  scf=0x7f61f4023ca0 flags=0x00000000 ioto=50s state=EST endp=CONN,0x7f61f2f03f40,0x50600001 sub=1 rex=40s wex=<NEVER> rto=48s wto=<NEVER>
    iobuf.flags=0x00000000 .pipe=0 .buf=0@(nil)+0/0
      co0=0x7f61f3155700 ctrl=tcpv4 xprt=RAW mux=PASS data=STRM target=LISTENER:0x7f61f30cd900
  scb=0x7f61f4023d00 flags=0x00000001 ioto=50s state=CON endp=CONN,0x7f61f2f03f70,0x50600001 sub=1 rex=1m2s500ms wex=<NEVER> rto=48s wto=<NEVER>
    iobuf.flags=0x00000000 .pipe=0 .buf=0@(nil)+0/0
  req=0x7f61f3083028 (f=0x848101 an=0x0 tofwd=-1 total=11)
      an_exp=<NEVER> buf=0x7f61f3083030 data=(nil) o=0 p=0 i=0 size=0
  res=0x7f61f3083070 (f=0x80048101 an=0x0 tofwd=-1 total=12)
      an_exp=<NEVER> buf=0x7f61f3083078 data=(nil) o=0 p=0 i=0 size=0
${CLI}
`;
