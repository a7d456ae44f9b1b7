/** What happened since the start. */
export interface Counters {
  requests: number;
  rejected: number;
  cancelled: number;
  /** By app servers, to where the relay has gone on. */
  redirected: number;
  answered: number;
  /** Sessions; one that changes counts once, and each of its changes in `changed`. */
  established: number;
  changed: number;
  /** Changes of service that were answered by a 2xx and did not count, since it named no service. */
  changesUnconfirmed: number;
  ended: number;
  /** Sessions of a process before this one that went on here. */
  restored: number;
  /** Sessions in which whoever hung up did not wait any longer for an answer to BYE. */
  byesUnanswered: number;
  /** Provisional answers that came after so many that the other end heard no more of them. */
  provisionalsLeftOut: number;
  charges: number;
  chargesRefused: number;
  /** Bodies of charges that were to come again later. */
  chargesPutOff: number;
  /** Prepaid: requests refused, and sessions ended, for want of credit. */
  creditRefused: number;
  creditExhausted: number;
  /** App servers that asked by 503 to be left alone for a while. */
  appServerRests: number;
  crashed: number;
  /** Requests of users who had as much under way as they may; and requests of sessions in which too many came. */
  overUserLimit: number;
  overSessionRate: number;
  /** Requests with a To tag of which no session knows; of these without an answer, since too many came from there. */
  strayRequests: number;
  strayRequestsIgnored: number;
  /** Times that the wall clock was set. */
  clockSteps: number;
}
