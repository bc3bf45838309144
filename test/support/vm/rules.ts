/** What nft(8) needs of the kernel, loaded at once: emulated, it takes longer than anybody waits for a command. */
import { execa } from "execa";

const MODULES = ["nf_tables", "nft_chain_nat", "nft_ct", "nft_hash", "nft_masq", "nft_nat", "nft_reject_inet"];

export async function loadNftables(): Promise<void> {
  await execa("modprobe", ["-a", ...MODULES], { timeout: 60_000 });
}
