import t from "tap";
import { addSsh } from "../../images/ssh.ts";
import { FileTree } from "../../images/tree.ts";

t.test("an image for debugging lets one key in, and no password", async (t) => {
  const tree = new FileTree().file("etc/shadow", "root:!*:19000:0:99999:7:::\nhaproxy:!*:19000:0:99999:7:::\n", 0o640);
  addSsh(tree, "ssh-ed25519 AAAA someone\n");
  t.equal(tree.read("root/.ssh/authorized_keys").toString(), "ssh-ed25519 AAAA someone\n");
  t.match(tree.get("root/.ssh"), { mode: 0o700 });
  const configuration = tree.read("etc/ssh/sshd_config").toString();
  t.match(configuration, /^PermitRootLogin prohibit-password$/m);
  t.match(configuration, /^PasswordAuthentication no$/m);
  t.ok(tree.has("usr/lib/systemd/system/multi-user.target.wants/ssh.service"));
  const [root, haproxy] = tree.read("etc/shadow").toString().split("\n");
  t.match(root, /^root:\*:/, "sshd refuses accounts that are locked, and no password is *");
  t.match(haproxy, /^haproxy:!\*:/);
});
