/** A connection for tests: a test says only what matters to it. */
import { type Connection, connection } from "../../agent/protocol.ts";
import { idOf } from "./specs.ts";

export function aConnection(changes: Partial<Connection> = {}): Connection {
  return connection.parse({
    id: "4-0000000001",
    amphora_id: idOf("amphora"),
    listener_id: idOf("listener"),
    pool_id: idOf("pool"),
    member_id: idOf("member"),
    ip_version: "ipv4",
    protocol: "tcp",
    status: "ESTABLISHED",
    client_src_ip: "192.0.2.77",
    client_src_port: "8128",
    client_dst_ip: "10.77.0.5",
    client_dst_port: "80",
    forward_src_ip: "10.77.0.5",
    forward_src_port: "8128",
    forward_dst_ip: "10.77.0.21",
    forward_dst_port: "8080",
    start_time: "2024-08-15 14:27:38",
    active_time: "2024-08-15 14:32:00",
    end_time: null,
    bytes_in: 1,
    bytes_out: 2,
    packets_in: 1,
    packets_out: 1,
    ...changes,
  });
}
