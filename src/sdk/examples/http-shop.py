"""http-shop.py: an app server that speaks HTTP and no SIP (ops/guide/http.md), with PyJWT: python3 http-shop.py"""
import hashlib, json, jwt
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RELAY, SELF, PRICES = "http://127.0.0.1:8088", "http://127.0.0.1:8087", {"Riesling": "12.50", "Rioja": "24.50"}
keys = jwt.PyJWKClient(RELAY + "/.well-known/jwks.json")
baskets, over = {}, {}  # what was bought in a visit, by the session's id, which nobody can guess

def is_of_relay(token, body):
    said = jwt.decode(token, keys.get_signing_key_from_jwt(token).key, ["ES256"], issuer=RELAY, audience=SELF)
    return said["sha256"] == hashlib.sha256(body).hexdigest()

def told(type, visit):
    if type == "session.requested":
        baskets[visit] = []
        return {"url": f"{SELF}/{visit}/"}
    if type == "session.ended" and visit in baskets:
        over[visit] = baskets.pop(visit)  # kept, since the same event may come again
    return {"charges": over.get(visit, [])}

class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        self.say("Riesling, Rioja: POST to buy one\n" if self.path.split("/")[1] in baskets else "This visit is over.\n")
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        visit, item = self.path.split("/")[1], self.path.split("/")[-1]
        if visit == "tollgate" and is_of_relay(self.headers["Authorization"].split()[1], body):
            return self.say(json.dumps(told(json.loads(body)["type"], json.loads(body)["session"])))
        if visit not in baskets or item not in PRICES:
            return self.say("We have no such bottle.\n" if visit in baskets else "This visit is over.\n", 404)
        number = str(len(baskets[visit]))
        baskets[visit].append({"id": number, "item": item, "unitPrice": PRICES[item], "currency": "EUR"})
        self.say(f"{item} is yours.\n")
    def say(self, text, status=200):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

print("open", flush=True)
ThreadingHTTPServer(("127.0.0.1", 8087), Shop).serve_forever()
