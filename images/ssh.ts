/** An image to look into: root may log in over the management network, with a key and nothing else. */
import { BuildError } from "./build-error.ts";
import type { FileTree } from "./tree.ts";

const UNITS = "usr/lib/systemd/system";

/** @param key a line for authorized_keys */
export function addSsh(tree: FileTree, key: string): void {
  // no password will do, as before; but sshd lets nobody into an account that is locked
  const shadow = tree.get("etc/shadow");
  if (shadow?.type !== "file") throw new BuildError("etc/shadow: is not there");
  tree.set("etc/shadow", { ...shadow, data: Buffer.from(shadow.data.toString().replace(/^root:!\*:/, "root:*:")) });
  tree.folder("root/.ssh", 0o700).file("root/.ssh/authorized_keys", `${key.trim()}\n`, 0o600);
  tree.folder("etc/ssh");
  tree.file(
    "etc/ssh/sshd_config",
    [
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "UsePAM no",
      "HostKey /var/lib/ssh/ssh_host_ed25519_key",
      "Subsystem sftp internal-sftp",
      "",
    ].join("\n"),
  );
  tree.file(
    `${UNITS}/ssh.service`,
    [
      "[Unit]",
      "Description=OpenSSH, for debugging",
      "RequiresMountsFor=/var/lib/ssh",
      "After=systemd-networkd.service",
      "",
      "[Service]",
      "StateDirectory=ssh",
      "StateDirectoryMode=0700",
      "RuntimeDirectory=sshd",
      `ExecStartPre=/bin/sh -c '[ -e /var/lib/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N "" -f /var/lib/ssh/ssh_host_ed25519_key'`,
      "ExecStart=/usr/sbin/sshd -D",
      "Restart=on-failure",
      "",
    ].join("\n"),
  );
  tree.link(`${UNITS}/multi-user.target.wants/ssh.service`, "../ssh.service");
}
