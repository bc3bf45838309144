/** What HAProxy answers is read as it means it. The answers were recorded from HAProxy 2.6.12. */
import t from "tap";
import { complaints } from "../../agent/dataplane/haproxy.ts";
import { HaproxyError, parseProcesses } from "../../agent/dataplane/haproxy-socket.ts";
import { parseStat } from "../../agent/dataplane/haproxy-stats.ts";
import { idOf } from "../support/specs.ts";

t.test("show proc: one worker", async (t) => {
  const answer = `#<PID>          <type>          <reloads>       <uptime>        <version>      
65              master          0 [failed: 0]   0d00h00m01s     2.6.12-1+deb12u4
# workers
67              worker          0               0d00h00m01s     2.6.12-1+deb12u4
# programs

`;
  t.strictSame(parseProcesses(answer), { master: 65, reloads: 0, failed: 0, worker: 67, oldWorkers: [] });
});

t.test("show proc: old workers that finish their connections", async (t) => {
  const answer = `#<PID>          <type>          <reloads>       <uptime>        <version>      
5605            master          2 [failed: 0]   0d00h00m05s     2.6.12-1+deb12u4
# workers
5747            worker          0               0d00h00m01s     2.6.12-1+deb12u4
# old workers
5716            worker          1               0d00h00m03s     2.6.12-1+deb12u4
5608            worker          2               0d00h00m05s     2.6.12-1+deb12u4
# programs

`;
  t.strictSame(parseProcesses(answer), {
    master: 5605,
    reloads: 2,
    failed: 0,
    worker: 5747,
    oldWorkers: [5716, 5608],
  });
});

t.test("show proc: a failed reload, after which the worker before it goes on", async (t) => {
  const answer = `#<PID>          <type>          <reloads>       <uptime>        <version>      
65              master          2 [failed: 1]   0d00h00m02s     2.6.12-1+deb12u4
# workers
77              worker          1               0d00h00m02s     2.6.12-1+deb12u4
# programs

`;
  t.strictSame(parseProcesses(answer), { master: 65, reloads: 2, failed: 1, worker: 77, oldWorkers: [] });
});

t.test("an answer without a master is an error that shows it", async (t) => {
  for (const answer of ["", "Unknown command.\n", "# workers\n67 worker 0 0d00h00m01s 2.6.12\n"]) {
    t.throws(() => parseProcesses(answer), HaproxyError, JSON.stringify(answer));
  }
  t.throws(() => parseProcesses("Unknown command.\n"), { message: /Unknown command/ });
});

/** Recorded, but for the listener's figures, each of which is another now, and a comma within quotes. */
const STAT = `# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck
amphora,FRONTEND,,,1,1,9974,1,46,150,0,0,0,,,,,OPEN,,,,,,,,,1,2,0,,,,0,1,0,1,,,,0,1,0,0,0,0,,1,1,1,,,0,0,0,0,,,,,,,,,,,,,,,,,,,,,http,,1,1,1,1,0,0,0,,,0,0,,,,,,,0,,,,,,,,,-,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,1,1,59,147,0,0,
33333333-0000-4000-8000-000000000001,FRONTEND,,,3,7,2000,42,92,218,0,0,5,,,,,OPEN,,,,,,,,,1,3,0,,,,0,2,0,2,,,,0,2,0,0,0,0,,2,2,2,,,0,0,0,0,,,,,,,,,,,,,,,,,,,,,http,,2,2,2,0,0,0,0,,,0,0,,,,,,,0,,,,,,,,,-,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2,2,108,250,0,0,
44444444-0000-4000-8000-000000000001:http:5000:50000,55555555-0000-4000-8000-000000000001,0,0,0,1,,1,46,109,,0,,0,0,0,0,UP,5,1,0,0,0,1,0,,1,5,1,,1,,2,1,,1,L7OK,200,2,0,1,0,0,0,0,,,,1,0,0,,,,,1,,,0,0,0,0,,,,"Layer7 check, passed",,1,1,1,,,,10.77.0.21:8080,,http,,,,,,,,0,1,0,,,1,,0,0,0,0,0,1,0,0,1,5,,,,-,0,0,0,,,,,,,,,,,,,,,,,,,,,,
44444444-0000-4000-8000-000000000001:http:5000:50000,55555555-0000-4000-8000-000000000003,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN,1,1,0,1,1,1,1,,1,5,3,,0,,2,0,,0,L4CON,,0,0,0,0,0,0,0,,,,0,0,0,,,,,-1,Connection refused,,0,0,0,0,,,,Layer4 connection problem,,1,1,0,,,,10.77.0.23:8080,,http,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,,-,0,0,0,,,,,,,,,,,,,,,,,,,,,,

`;

t.test("show stat: each frontend and server is a row", async (t) => {
  const rows = parseStat(STAT);
  t.strictSame(
    rows.map(({ proxy, server, status }) => [proxy, server, status]),
    [
      ["amphora", "FRONTEND", "OPEN"],
      [idOf("listener"), "FRONTEND", "OPEN"],
      [`${idOf("pool")}:http:5000:50000`, idOf("member", 1), "UP"],
      [`${idOf("pool")}:http:5000:50000`, idOf("member", 3), "DOWN"],
    ],
  );
  t.strictSame(rows[1], {
    proxy: idOf("listener"),
    server: "FRONTEND",
    status: "OPEN",
    sessionLimit: 2000,
    counters: { active_connections: 3, total_connections: 42, bytes_in: 92, bytes_out: 218, request_errors: 5 },
  });
});

t.test("show stat: what is no row is passed over", async (t) => {
  t.strictSame(parseStat(""), []);
  t.strictSame(parseStat("Can't find the target PID matching the prefix '@!99999'\n"), []);
});

t.test("of what HAProxy prints, its alerts are told, without their process id", async (t) => {
  const printed = `[NOTICE]   (65) : haproxy version is 2.6.12-1+deb12u4
[ALERT]    (65) : Binding [/etc/amphora/haproxy/haproxy.cfg:32] for frontend x: cannot bind socket (Address already in use) for [10.77.0.5:82]
[ALERT]    (65) : [/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting.
[WARNING]  (65) : Loading failure!
`;
  t.strictSame(complaints(printed), [
    "Binding [/etc/amphora/haproxy/haproxy.cfg:32] for frontend x: cannot bind socket (Address already in use) for [10.77.0.5:82]",
    "[/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting.",
  ]);
  t.strictSame(complaints("nsenter: cannot open /run/netns/x\n"), ["nsenter: cannot open /run/netns/x"]);
  t.strictSame(complaints(""), []);
});
