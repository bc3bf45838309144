/** Which replica has which bucket of flows (ACTIVE_ACTIVE). Pure. */
import { BUCKETS } from "../templates/replicas.ts";

/**
 * Rendezvous hashing: each bucket goes to the replica that it scores highest, so that when one comes or goes only its own
 * buckets change owners. Every replica works out the same (Thaler and Ravishankar, "Using Name-Based Mappings to Increase
 * Hit Rates", 1998).
 * @param slots of the replicas that serve, at least one
 * @returns the slot of each bucket's owner
 */
export function ownersOf(slots: readonly number[]): number[] {
  return Array.from({ length: BUCKETS }, (_, bucket) =>
    slots.reduce((best, slot) => (score(bucket, slot) > score(bucket, best) ? slot : best)),
  );
}

/** The finalizer of MurmurHash3: every bit of its input changes half of the output's. */
function score(bucket: number, slot: number): number {
  let hash = Math.imul((slot << 16) | bucket, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
