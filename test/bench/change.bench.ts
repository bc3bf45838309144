/** How long changes of a large load balancer take to be in force: 5,000 members in 50 listeners, on a real agent. */

import { ask } from "../../agent/dataplane/haproxy-socket.ts";
import { AgentClient } from "../../controller/amphorae/client.ts";
import { TestAgent } from "../support/agent.ts";
import { largeSpec } from "../support/large-spec.ts";
import { plugTenant, tenantSpec } from "../support/tenant.ts";
import { measure, print } from "./figures.ts";

const cleanups: (() => unknown)[] = [];
const scope = { teardown: (cleanup: () => unknown) => void cleanups.unshift(cleanup) };
try {
  const agent = await TestAgent.make(scope);
  await agent.start();
  await plugTenant(scope);
  const client = new AgentClient(agent.controller);
  const to = { amphoraId: agent.id, address: agent.address };
  const { listeners, pools } = largeSpec(50, 100, 50);
  const [first] = pools ?? [];
  const [member] = first?.members ?? [];
  if (first === undefined || member === undefined) throw new Error("there is no member");

  let revision = 0;
  const put = () => client.putSpec(to, tenantSpec(agent, ++revision, { listeners, pools }));
  const ways = new Map<string, number>();
  /** How long each took, with what the agent does after its answer done before the next one. */
  const changes = async (count: number, alter: (i: number) => void) => {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      alter(i);
      times.push(
        ...(await measure(1, async () => {
          const { how } = await put();
          ways.set(how, (ways.get(how) ?? 0) + 1);
        })),
      );
      await client.health(to);
    }
    return times;
  };
  console.log(`  first: ${JSON.stringify(await put())}`);
  const server = `${first.id}:http:5000:50000/${member.id}`;
  print("PUT one weight ... answered", await changes(50, (i) => Object.assign(member, { weight: (i % 100) + 2 })));
  console.log(`  HAProxy says: ${(await ask(agent.haproxySocket, `@1 get weight ${server}`)).trim()}`);
  print(
    "PUT one member more, one less ... answered",
    await changes(20, (i) => {
      if (i % 2 === 1) first.members?.pop();
      else first.members?.push({ ...member, id: "00000006-0000-4000-8000-999999999999", protocol_port: 9090 });
    }),
  );
  print(
    "PUT a listener's time-out (hitless reload) ... answered",
    await changes(10, (i) => Object.assign(listeners?.[0] ?? {}, { timeout_client_data: 50_001 + i })),
  );
  console.log(`  ${JSON.stringify(Object.fromEntries(ways))}`);
  client.close();
} finally {
  for (const cleanup of cleanups) await cleanup();
}
