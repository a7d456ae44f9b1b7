/** What Tollgate answers; nothing to responses. */
export const ANSWERS: Readonly<Record<string, number>> = {
  // RFC 4475 §3.1.1: valid messages
  wsinv: 481, // its To tag names no session here
  intmeth: 501,
  esc01: 401,
  escnull: 404, // the portal is the registrar of its own domains
  esc02: 501,
  lwsdisp: 200,
  longreq: 401,
  dblreq: 404,
  semiuri: 200,
  transports: 200,
  mpart01: 405, // MESSAGE, which goes from one end of a session to the other only
  // §3.1.2: invalid messages
  badinv01: 400,
  clerr: 400,
  ncl: 400,
  scalar02: 400,
  quotbal: 400,
  ltgtruri: 400,
  lwsruri: 400,
  lwsstart: 400,
  trws: 400,
  escruri: 400,
  baddate: 401,
  regbadct: 400,
  badaspec: 400,
  baddn: 400,
  "baddn-terminated": 400,
  badvers: 505,
  mismatch01: 400,
  mismatch02: 501,
  // §3.2, §3.3: what is above the parser
  badbranch: 200, // matched as RFC 2543 had it
  insuf: 400,
  unkscm: 416,
  novelsc: 416,
  unksm2: 404,
  bext01: 420,
  invut: 401,
  regaut01: 404,
  multi01: 400,
  mcl01: 400,
  zeromf: 200, // OPTIONS to the relay itself
  cparam01: 404,
  cparam02: 404,
  regescrt: 404,
  sdp01: 401,
  // §3.4
  inv2543: 401,
  // RFC 5118
  "rfc5118/ipv6-good": 404,
  "rfc5118/ipv6-bad": 400,
  "rfc5118/port-ambiguous": 404,
  "rfc5118/port-unambiguous": 404,
  "rfc5118/via-received-param-with-delim": 481,
  "rfc5118/via-received-param-no-delim": 200,
  "rfc5118/ipv6-in-sdp": 401,
  "rfc5118/mult-ip-in-header": 481,
  "rfc5118/mult-ip-in-sdp": 401,
  "rfc5118/ipv4-mapped-ipv6": 401,
  "rfc5118/ipv6-bug-abnf-3-colons": 200,
  "rfc5118/ipv6-correct-abnf-2-colons": 200,
};
