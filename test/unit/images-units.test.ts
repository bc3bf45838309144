/** The image's own services: no more rights than they need, by systemd's own measure (0 is the least exposed, 10 the most). */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";

const FILES = join(import.meta.dirname, "../../images/files");
const UNITS = join(FILES, "usr/lib/systemd/system");

const MOST: Record<string, number> = {
  "amphora-agent.service": 4.5,
  "amphora-bootstrap.service": 3,
  "amphora-power-button.service": 2,
};
for (const [unit, most] of Object.entries(MOST)) {
  t.test(`${unit} is exposed by ${most} at most`, async (t) => {
    const args = ["security", "--offline=true", "--no-pager", `--threshold=${most * 10}`, join(UNITS, unit)];
    const { exitCode, stdout, stderr } = await execa("systemd-analyze", args, { reject: false, timeout: 30_000 });
    t.equal(exitCode, 0, `${stdout.split("\n").at(-1)} ${stderr}`);
  });
}

t.test("every sysctl has its reason above it", async (t) => {
  for (const file of ["usr/lib/sysctl.d/50-amphora.conf", "usr/lib/amphora/namespace.conf"]) {
    for (const paragraph of readFileSync(join(FILES, file), "utf8").split("\n\n")) {
      if (/^\S+ = /m.test(paragraph)) t.match(paragraph, /^# /, paragraph);
    }
  }
});

t.test("every service of ours says what it is", async (t) => {
  for (const unit of readdirSync(UNITS)) {
    if (unit.endsWith(".service")) t.match(readFileSync(join(UNITS, unit), "utf8"), /^Description=\S/m, unit);
  }
});
