/** Who is calling. */

/** A person or program that has shown a valid token. */
export interface Caller {
  readonly userId: string;
  /** "" for a token that is of no project */
  readonly projectId: string;
  readonly roles: readonly string[];
  /** whether the token is for the deployment as a whole (Keystone's `system_scope`) */
  readonly system: boolean;
}

export interface IdentityDriver {
  /** where clients get tokens; null: from the operator */
  readonly authUrl: string | null;
  /** Whose token it is; null: nobody's. @throws {ApiError} 503 when that can't be found out now */
  authenticate(token: string): Promise<Caller | null>;
  /** Lets go of what it holds open. */
  close(): void;
}
