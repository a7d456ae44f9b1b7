/** What happened since the start. */
export interface Counters {
  requests: number;
  rejected: number;
  cancelled: number;
  /** Redirections by app servers that the relay has followed. */
  redirected: number;
  answered: number;
  /** Sessions. A session that changes its service counts once here, and each change in `changed`. */
  established: number;
  changed: number;
  /** Changes of service that were not made, because the 2xx did not name the service. */
  changesUnconfirmed: number;
  ended: number;
  /** Sessions of an earlier process that went on in this one. */
  restored: number;
  /** Sessions in which the BYE was answered before the other end had answered it. */
  byesUnanswered: number;
  /** Provisional answers that were not passed on, because there had been too many. */
  provisionalsLeftOut: number;
  charges: number;
  chargesRefused: number;
  /** Bodies of charges whose sender was told to try again later. */
  chargesPutOff: number;
  /** Prepaid: requests refused, and sessions ended, for lack of credit. */
  creditRefused: number;
  creditExhausted: number;
  /** App servers that asked by 503 to be left alone for a while. */
  appServerRests: number;
  crashed: number;
  /** Requests refused because the user had too much under way, and because too many came in one session. */
  overUserLimit: number;
  overSessionRate: number;
  /**
   * Requests with a To tag that no session knows. The second: those left without an answer, because too many came from
   * the same source.
   */
  strayRequests: number;
  strayRequestsIgnored: number;
  /** REGISTERs that were taken, and that were refused to somebody who had signed in, or for another domain. */
  registers: number;
  registersRefused: number;
  /** Times that the wall clock was set. */
  clockSteps: number;
}
