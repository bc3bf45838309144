/** The image for x86_64: what comes out of a build, the image at work, and the image at a loss. */
import { mkdtemp, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Authority } from "../../controller/amphorae/authority.ts";
import { sha256 } from "../../images/build.ts";
import { checkImage } from "../../images/check/check.ts";
import { imageOf } from "../../images/manifest.ts";
import { AMPHORA_ID, boot, bootstrapDocument, build, configDrive, knock, says } from "../support/images.ts";

const out = await mkdtemp(join(tmpdir(), "amphora-images-"));
let file = "";
t.before(async () => {
  file = await build("x86_64", join(out, "one"));
});
t.after(() => rm(out, { recursive: true, force: true }));

t.test("two builds of one commit are the same, byte by byte", async (t) => {
  // times are of the commit, and not of the build
  const two = await build("x86_64", join(out, "two"));
  t.equal(await sha256(file), await sha256(two));
  t.equal(await readFile(`${file}.cdx.json`, "utf8"), await readFile(`${two}.cdx.json`, "utf8"));
  const name = file.slice(join(out, "one/").length);
  t.strictSame(await readdir(join(out, "one")), [name, `${name}.cdx.json`], "nothing else is left");
  await rm(join(out, "two"), { recursive: true });
});

t.test("the manifest is of this image, and names what an amphora needs and nothing else", async (t) => {
  const text = await readFile(`${file}.cdx.json`, "utf8");
  t.equal(imageOf(text).sha256, await sha256(file));
  const { components } = JSON.parse(text) as { components: { name: string }[] };
  const names = components.map(({ name }) => name);
  for (const name of ["haproxy", "keepalived", "ipvsadm", "nftables", "conntrack", "zod"])
    t.ok(names.includes(name), name);
  for (const name of ["gcc", "openssh-server", "apt"]) t.notOk(names.includes(name), `no ${name}`);
  const megabytes = (await stat(file)).size / 1e6;
  t.ok(megabytes < 160, `${megabytes.toFixed(0)} MB`);
});

t.test("the image passes its check", async (t) => {
  const lines: string[] = [];
  const passed = await checkImage(file, (line) => {
    lines.push(line);
    t.comment(line);
  });
  t.ok(passed, lines.at(-1) ?? "no step");
});

t.test("without a config drive it stays up, refuses connections, and says what it lacks", async (t) => {
  const guest = await boot(t, file, null);
  await says(guest, /there is no config drive \(no device has the label config-2\), and the metadata service/);
  t.equal(await knock(), "closed");
  t.ok(guest.running);
});

t.test("with a config drive that is cut short it says so", async (t) => {
  const drive = await configDrive(t, { "openstack/latest/user_data": JSON.stringify(await bootstrapDocument(t)) });
  // the folders are there, the end of the file is not
  await truncate(drive, 47_104);
  const guest = await boot(t, file, drive);
  await says(guest, /config drive \/dev\/sr0: /);
  t.equal(await knock(), "closed");
});

t.test("with another authority's certificate it says so", async (t) => {
  const good = await bootstrapDocument(t);
  const other = await Authority.open(join(t.testdirName, "other"));
  const identity = { ...(await other.issueAmphora(AMPHORA_ID, 1)).bundle, ca: good.identity.ca };
  const drive = await configDrive(t, {
    "openstack/latest/meta_data.json": JSON.stringify({
      files: [{ path: "/etc/amphora/bootstrap.json", content_path: "/content/0000" }],
    }),
    "openstack/content/0000": JSON.stringify({ ...good, identity }),
  });
  const guest = await boot(t, file, drive);
  await says(guest, /config drive \/dev\/sr0: content\/0000: identity\.certificate: is not signed by ca/);
  t.equal(await knock(), "closed");
});
