/** The real OpenStack clients, pointed at the key manager without a Keystone: with an endpoint and a token. */
import { execa } from "execa";

const LIMIT = 60_000;

export interface Said {
  readonly exitCode: number | undefined;
  readonly output: string;
}

/** `openstack ARGS`. Never throws: look at `exitCode`. */
export async function openstack(endpoint: string, token: string, ...args: readonly string[]): Promise<Said> {
  const login = ["--os-auth-type", "admin_token", "--os-endpoint", endpoint, "--os-token", token];
  return run("openstack", [...login, ...args]);
}

/** What a table of one column says. @throws when the command failed */
export async function value(
  endpoint: string,
  token: string,
  column: string,
  ...args: readonly string[]
): Promise<string> {
  const { exitCode, output } = await openstack(endpoint, token, ...args, "-f", "value", "-c", column);
  if (exitCode !== 0) throw new Error(`openstack ${args.join(" ")}: ${output}`);
  return output;
}

/**
 * Runs a Python script with barbicanclient as `client`, which has found the key manager in a catalogue as Keystone gives
 * one. @returns what it prints @throws when it fails
 */
export async function barbicanclient(base: string, token: string, script: string): Promise<string> {
  const prelude = `
import json
from keystoneauth1 import access, fixture, session
from keystoneauth1.identity.access import AccessInfoPlugin
from barbicanclient import client as barbican, exceptions
issued = fixture.V3Token()
issued.set_project_scope()
issued.add_service("key-manager").add_standard_endpoints(public=${JSON.stringify(`${base}/key-manager`)})
login = AccessInfoPlugin(access.AccessInfoV3(issued, ${JSON.stringify(token)}))
client = barbican.Client(session=session.Session(auth=login))
`;
  const { exitCode, output } = await run("/usr/bin/python3", ["-c", `${prelude}\n${script}`]);
  if (exitCode !== 0) throw new Error(output);
  return output;
}

async function run(command: string, args: readonly string[]): Promise<Said> {
  const { exitCode, all } = await execa(command, args, { reject: false, timeout: LIMIT, all: true });
  return { exitCode, output: all };
}
