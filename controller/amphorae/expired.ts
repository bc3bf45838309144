/** Connections to agents whose certificate has expired, when nothing else is wrong with it. */
import { connect, type TLSSocket } from "node:tls";
import { AGENT_PORT, agentName, type CertificateBundle, certificatesIn } from "../../agent/protocol.ts";

/** The agent could not be reached, or not understood, in time: worth another try. */
export class UnreachableError extends Error {
  override readonly name: string = "UnreachableError";
}

/** OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, as Node names it. */
export const EXPIRED = "CERT_HAS_EXPIRED";
/** id-kp-serverAuth (RFC 5280, 4.2.1.12) */
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/**
 * Connects, and checks by hand what TLS was told not to: the certificate is this amphora's, signed by an authority of
 * ours, for a server, and all that is wrong with it is its age. The handshake has proven that the agent has its key.
 * @throws {UnreachableError}
 */
export function connectExpired(
  { amphoraId, address }: { readonly amphoraId: string; readonly address: string },
  { certificate, key, ca }: CertificateBundle,
  limit: number,
): Promise<TLSSocket> {
  const name = agentName(amphoraId);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address,
      port: AGENT_PORT,
      servername: name,
      cert: certificate,
      key,
      ca,
      minVersion: "TLSv1.3",
      rejectUnauthorized: false,
    });
    const failed = (message: string) => {
      socket.destroy();
      reject(new UnreachableError(`${address}: ${message}`));
    };
    socket.setTimeout(limit, () => failed(`no handshake within ${limit} ms`));
    socket.once("error", (error) => failed(error.message));
    socket.once("secureConnect", () => {
      const fault = faultOf(socket, name, ca);
      if (fault !== null) return failed(fault);
      socket.setTimeout(0);
      resolve(socket);
    });
  });
}

/** @returns what is wrong with the certificate besides its age; null: nothing */
function faultOf(socket: TLSSocket, name: string, ca: string): string | null {
  // TLS names the first fault that it finds, and the signature comes before the age
  if (!socket.authorized && String(socket.authorizationError) !== EXPIRED) {
    return `its certificate is not accepted: ${socket.authorizationError}`;
  }
  const shown = socket.getPeerX509Certificate();
  if (shown === undefined) return "it shows no certificate";
  const isOurs = certificatesIn(ca)
    // the age that is let pass is the certificate's alone
    .filter(({ validToDate }) => validToDate.getTime() > Date.now())
    .some((each) => shown.checkIssued(each) && shown.verify(each.publicKey));
  if (!isOurs) return "its certificate is not signed by an authority of ours that is valid";
  if (shown.checkHost(name) === undefined) return `its certificate does not name ${name}`;
  return shown.keyUsage.includes(SERVER_AUTH) ? null : "its certificate is not one for a server";
}
