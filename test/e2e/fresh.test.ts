/** A newcomer's first minute: a bare Debian, a clone, `npm run up`. */
import { execa } from "execa";
import t from "tap";
import { BareSystem } from "../support/bare-system.ts";

for (const suite of ["bookworm", "trixie"]) {
  t.test(
    `on a bare Debian ${suite} with nothing but Node and npm, npm run up installs the rest and serves`,
    async (t) => {
      const system = await BareSystem.make(t, suite);
      system.run("npm run up");
      await system.says(/Debian packages to install: .*haproxy/, 60_000);
      const url = await system.says(/VIP +(http:\S+)/, 300_000);
      await system.says(/Ctrl-C stops/, 5000);
      const answers: string[] = [];
      for (let i = 0; i < 4; i++) answers.push((await execa("curl", ["-s", "-m", "5", url])).stdout);
      t.match(
        answers.join(" "),
        /^(web1 web2 web1 web2|web2 web1 web2 web1)$/,
        "the printed URL answers from both members",
      );
      await system.interrupt();
      const { stdout } = await execa("ip", ["-br", "link"]);
      t.notMatch(stdout, /^am/m, "no link is left");
    },
  );
}
