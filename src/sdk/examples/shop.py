"""shop.py: an app server without the SDK, in Python without any package: SIP by TCP, a page by HTTP, charges by INFO."""
import json, re, secrets, socket, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIP_PORT, HTTP_PORT = 5076, 8084
PRICES = {"Riesling": "12.50", "Rioja": "24.50"}
visits = {}  # the visit by its token


class Visit:
    """A session: one dialog with the relay (RFC 3261 12)."""

    def __init__(self, line, head):
        self.line, self.call_id = line, head["call-id"]
        self.token, self.tag, self.cseq = secrets.token_urlsafe(16), secrets.token_hex(8), 0
        self.us, self.them = head["to"] + ";tag=" + self.tag, head["from"]
        self.target = re.search(r"<(.+?)>", head["contact"])[1]
        self.answered, self.status = threading.Event(), 0

    def charge(self, charge):
        """Charges by one INFO (WIRE.md). True: the relay has the charge on disk."""
        self.cseq += 1
        self.answered.clear()
        self.line.send(f"INFO {self.target} SIP/2.0", [
            f"Via: SIP/2.0/TCP 127.0.0.1:{SIP_PORT};branch=z9hG4bK{secrets.token_hex(8)}", "Max-Forwards: 70",
            f"From: {self.us}", f"To: {self.them}", f"Call-ID: {self.call_id}", f"CSeq: {self.cseq} INFO",
            "Info-Package: tollgate-charge", "Content-Disposition: Info-Package",
            "Content-Type: application/vnd.tollgate.charge+json"], json.dumps({"charges": [charge]}))
        return self.answered.wait(32) and self.status == 200


class Line:
    """One TCP connection of the relay."""

    def __init__(self, connection):
        self.connection, self.dialogs, self.lock = connection, {}, threading.Lock()
        threading.Thread(target=self.read, daemon=True).start()

    def send(self, start, lines, body=""):
        text = "\r\n".join([start, *lines, f"Content-Length: {len(body.encode())}", "", body])
        with self.lock:
            self.connection.sendall(text.encode())

    def read(self):
        stream = self.connection.makefile("rb")
        while start := stream.readline():
            if not start.strip():
                continue  # a keep-alive
            head, via = {}, []
            while line := stream.readline().decode().strip():
                name, value = line.split(":", 1)
                via += [line] if name.lower() == "via" else []
                head.setdefault(name.strip().lower(), value.strip())
            stream.read(int(head.get("content-length", 0)))
            self.received(start.decode().strip(), head, via)

    def received(self, start, head, via):
        dialog = self.dialogs.get(head["call-id"])
        if start.startswith("SIP/2.0"):
            if dialog and int(start.split()[1]) >= 200:
                dialog.status = int(start.split()[1])
                dialog.answered.set()
            return
        method = start.split()[0]
        if method == "ACK":
            return
        common = [*via, f"From: {head['from']}", f"Call-ID: {head['call-id']}", f"CSeq: {head['cseq']}"]
        if method == "INVITE" and not dialog:
            visit = self.dialogs[head["call-id"]] = Visit(self, head)
            visits[visit.token] = visit
            url = json.dumps({"url": f"http://127.0.0.1:{HTTP_PORT}/{visit.token}/"})
            self.send("SIP/2.0 200 OK", [*common, f"To: {visit.us}", f"Contact: <sip:127.0.0.1:{SIP_PORT};transport=tcp>",
                "Content-Type: application/vnd.tollgate.access+json", "Content-Disposition: session"], url)
            return
        known = dialog or method == "OPTIONS"
        status = "481 Call/Transaction Does Not Exist" if not known else "488 Not Acceptable Here" if method in ("INVITE", "UPDATE") else "200 OK"
        to = head["to"] if "tag=" in head["to"] else f"{head['to']};tag={secrets.token_hex(8)}"
        if method == "BYE" and dialog:
            visits.pop(self.dialogs.pop(head["call-id"]).token, None)  # from now on the URL leads nowhere
        self.send(f"SIP/2.0 {status}", [*common, f"To: {to}"])


class Page(BaseHTTPRequestHandler):
    def say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        there = self.path.split("/")[1] in visits
        self.say(200, "Riesling, Rioja: POST to buy one\n") if there else self.say(404, "This visit is over.\n")

    def do_POST(self):
        _, token, item = self.path.split("/")
        visit = visits.get(token)
        if not visit or item not in PRICES:
            return self.say(404, "This visit is over.\n" if not visit else "We have no such bottle.\n")
        charge = {"id": secrets.token_hex(8), "item": item, "unitPrice": PRICES[item], "quantity": "1", "currency": "EUR"}
        self.say(200, f"{item} is yours.\n") if visit.charge(charge) else self.say(402, f"{item} is not sold to you.\n")

    def log_message(self, *_):
        pass


server = socket.create_server(("127.0.0.1", SIP_PORT))
threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", HTTP_PORT), Page).serve_forever, daemon=True).start()
print("open", flush=True)
while True:
    Line(server.accept()[0])
