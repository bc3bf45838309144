/** The clients that people use, against the key manager. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ADMIN, ALICE, startApi } from "../support/api.ts";
import { Openssl } from "../support/openssl.ts";
import { endpointAndToken, openstack, python, Shell } from "../support/openstack.ts";
import { SQLITE } from "../support/postgres.ts";

const openssl = await Openssl.make(t);
const server = await openssl.issue("/CN=server");

t.test("openstack secret … stores a certificate, and gives it back", async (t) => {
  const api = await startApi(t, SQLITE);
  const endpoint = `${api.base}/key-manager/v1`;
  const folder = await mkdtemp(join(tmpdir(), "amphora-client-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const bundle = await openssl.file(await openssl.bundle(server));
  const alice = Shell.open(t, endpointAndToken(endpoint, ALICE));
  const href = (...args: readonly string[]) => alice.value("Secret href", "secret", ...args);

  const secret = await href("store", "--name", "server", "--file", bundle);
  t.match(secret, `${endpoint}/secrets/`);
  t.equal(await href("list", "--name", "server"), secret);
  const file = join(folder, "out.p12");
  await alice.quiet("secret", "get", secret, "--file", file, "--payload_content_type", "application/octet-stream");
  t.ok((await readFile(file)).equals(await readFile(bundle)), "the same bytes");

  // a shell reads lines: a payload of several is for a command of its own
  const text = ["secret", "store", "--name", "certificate", "--payload", server.certificate, "-f", "value"];
  const stored = await openstack(endpointAndToken(endpoint, ALICE), ...text, "-c", "Secret href");
  t.equal(stored.exitCode, 0);
  const key = await href("store", "--name", "key", "--payload", "a key", "--payload-content-type", "text/plain");
  const parts = ["--secret", `certificate=${stored.stdout}`, "--secret", `private_key=${key}`];
  const create = ["secret", "container", "create", "--type", "certificate", "--name", "c", ...parts];
  const container = await alice.value("Container href", ...create);
  t.equal(await alice.value("Private Key", "secret", "container", "get", container), key);
  await alice.run("acl", "user", "add", "--user", "bob", container);
  t.match(await alice.value("Users", "acl", "get", container), "bob");

  await alice.quiet("secret", "update", key, "another");
  t.equal(await alice.value("Payload", "secret", "get", key, "--payload"), "another");
  await alice.quiet("secret", "delete", secret);
  t.match(await alice.failing("secret", "get", secret), /Not Found: Secret .* not found\./);
  const admin = Shell.open(t, endpointAndToken(endpoint, ADMIN));
  const foreign = await admin.failing("secret", "get", key, "--payload");
  t.match(foreign, "Forbidden: Policy does not allow this request to be performed.");
  const nobody = await openstack(endpointAndToken(endpoint, "wrong"), "secret", "list");
  t.match(nobody.stderr, /Unauthorized|requires authentication/);
  t.not(nobody.exitCode, 0);
});

t.test("python-barbicanclient finds the key manager in a catalogue, and gets on with it", async (t) => {
  const api = await startApi(t, SQLITE);
  const said = await python(
    {},
    "-c",
    `
import json
from keystoneauth1 import access, fixture, session
from keystoneauth1.identity.access import AccessInfoPlugin
from barbicanclient import client as barbican, exceptions
issued = fixture.V3Token()
issued.set_project_scope()
issued.add_service("key-manager").add_standard_endpoints(public="${api.base}/key-manager")
login = AccessInfoPlugin(access.AccessInfoV3(issued, "${ALICE}"))
client = barbican.Client(session=session.Session(auth=login))
for i in range(12):
    client.secrets.create(name="n%d" % (i % 2), payload="p%d" % i, bit_length=i + 1, mode="cbc").store()
assert client.secrets.total() == 12
assert [s.bit_length for s in client.secrets.list(limit=3, offset=2, name="n0", sort="bit_length")] == [5, 7, 9]
assert len(client.secrets.list(limit=100, created="gt:2999-01-01T00:00:00")) == 0
later = client.secrets.create(name="later")
later.store()
assert client.secrets.get(later.secret_ref).payload is None
client.secrets.update(later.secret_ref, "now")
found = client.secrets.get(later.secret_ref)
assert (found.payload, found.payload_content_type, found.status, found.secret_type) == ("now", "text/plain", "ACTIVE", "opaque")
assert found.created.tzinfo is not None
raw = client.secrets.create(payload=bytes(range(256)), expiration="2999-01-01T00:00:00")
raw.store()
assert client.secrets.get(raw.secret_ref).payload == bytes(range(256))
assert client.secrets.get(raw.secret_ref).expiration.year == 2999

keys = client.containers.create_rsa(name="keys", public_key=later, private_key=raw)
keys.store()
assert set(client.containers.get(keys.container_ref).secret_refs) == {"public_key", "private_key"}
box = client.containers.create(name="box", secrets={"x": later})
box.store()
assert sorted(c.name for c in client.containers.list()) == ["box", "keys"]
assert client.containers.total() == 2
assert client.containers.register_consumer(box.container_ref, "me", "http://me/1").consumers == [{"name": "me", "URL": "http://me/1"}]
client.containers.remove_consumer(box.container_ref, "me", "http://me/1")
assert client.containers.get(box.container_ref).consumers == []

acl = client.acls.create(entity_ref=later.secret_ref, users=["bob"], project_access=False)
acl.submit()
assert (acl.get("read").project_access, acl.get("read").users) == (False, ["bob"])
client.acls.get(later.secret_ref).remove()
assert client.acls.get(later.secret_ref).read.project_access

def refused(work):
    try:
        work()
    except exceptions.HTTPClientError as error:
        return str(error)
    raise AssertionError("not refused")

print(refused(lambda: client.secrets.create(payload="x" * 200000).store()))
print(refused(lambda: client.secrets.get(raw.secret_ref, "text/plain").payload))
print(refused(lambda: client.secrets.create(name="n" * 256).store()))
for ref in (box, keys):
    client.containers.delete(ref.container_ref)
client.secrets.delete(later.secret_ref)
print(client.secrets.total())
`,
  );
  // what the client writes to its log is among it
  const lines = said.split("\n").filter((line) => !/^4xx|^Secret does not contain/.test(line));
  t.match(lines, [
    /^Payload Too Large: The payload has 200000 bytes: 131072 are the most\.$/,
    /^Not Acceptable: /,
    /^Bad Request: Invalid property name: /,
    "13",
  ]);
});
