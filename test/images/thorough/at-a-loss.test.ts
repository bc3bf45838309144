/** An instance that is not told, or not rightly, who it is. */
import { truncate } from "node:fs/promises";
import t from "tap";
import { Authority } from "../../../controller/amphorae/authority.ts";
import { AMPHORA_ID, boot, bootstrapDocument, configDrive, imageUnderTest, knock, says } from "../../support/images.ts";

let file = "";
t.before(async () => {
  file = await imageUnderTest("x86_64");
});

t.test("without a config drive it stays up, refuses connections, and says what it lacks", async (t) => {
  const guest = await boot(t, file, null);
  await says(guest, /there is no config drive \(no device has the label config-2\), and the metadata service/);
  t.equal(await knock(), "closed");
  t.ok(guest.running);
});

t.test("with a config drive that is cut short it says so", async (t) => {
  const drive = await configDrive(t, { "openstack/latest/user_data": JSON.stringify(await bootstrapDocument()) });
  // the folders are there, the end of the file is not
  await truncate(drive, 47_104);
  const guest = await boot(t, file, drive);
  await says(guest, /config drive \/dev\/sr0: /);
  t.equal(await knock(), "closed");
});

t.test("with another authority's certificate it says so", async (t) => {
  const good = await bootstrapDocument();
  const other = await Authority.make();
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
