<?php
// shop.php: an app server without the SDK, in PHP without any package: SIP by TCP, a page by HTTP, charges by INFO.
// One loop serves both: php shop.php

const SIP_PORT = 5077, HTTP_PORT = 8085;
const PRICES = ['Riesling' => '12.50', 'Rioja' => '24.50'];

$sip = stream_socket_server('tcp://127.0.0.1:' . SIP_PORT);
$http = stream_socket_server('tcp://127.0.0.1:' . HTTP_PORT);
$relays = $browsers = $unread = []; // connections, and what of them is not read yet
$visits = [];                       // the session by its token
$dialogs = [];                      // its token by its Call-ID (RFC 3261 12)
$waiting = [];                      // the browser that waits for an INFO's answer, by the INFO's branch

function send($to, string $start, array $lines, string $body = ''): void
{
    fwrite($to, implode("\r\n", [$start, ...$lines, 'Content-Length: ' . strlen($body), '', $body]));
}

function say($to, int $status, string $text): void
{
    send($to, "HTTP/1.1 $status -", ['Connection: close'], $text);
    stream_socket_shutdown($to, STREAM_SHUT_WR);
}

/** Cuts the next message off: its first line, its header fields, its Vias. Null: it is not there yet. */
function nextMessage(string &$text): ?array
{
    $text = ltrim($text, "\r\n"); // keep-alives
    if (($end = strpos($text, "\r\n\r\n")) === false) return null;
    $lines = explode("\r\n", substr($text, 0, $end));
    $start = array_shift($lines);
    $head = $vias = [];
    foreach ($lines as $line) {
        [$name, $value] = explode(':', $line, 2);
        if (strtolower($name) === 'via') $vias[] = $line;
        $head[strtolower(trim($name))] ??= trim($value);
    }
    $length = $end + 4 + (int) ($head['content-length'] ?? 0);
    if (strlen($text) < $length) return null;
    $text = substr($text, $length);
    return [$start, $head, $vias];
}

function fromRelay($line, string $start, array $head, array $vias): void
{
    global $visits, $dialogs, $waiting;
    if (str_starts_with($start, 'SIP/2.0')) { // the answer to an INFO: only now the bottle is sold
        $branch = preg_match('/branch=(\w+)/', $vias[0], $found) ? $found[1] : '';
        $status = (int) substr($start, 8, 3);
        if ($status < 200 || !isset($waiting[$branch])) return;
        [$browser, $item] = $waiting[$branch];
        unset($waiting[$branch]);
        $status === 200 ? say($browser, 200, "$item is yours.\n") : say($browser, 402, "$item is not sold to you.\n");
        return;
    }
    $method = strtok($start, ' ');
    if ($method === 'ACK') return;
    $callId = $head['call-id'];
    $common = [...$vias, "From: $head[from]", "Call-ID: $callId", "CSeq: $head[cseq]"];
    if ($method === 'INVITE' && !isset($dialogs[$callId])) {
        $token = bin2hex(random_bytes(16));
        $us = "$head[to];tag=" . bin2hex(random_bytes(8));
        preg_match('/<(.+?)>/', $head['contact'], $contact);
        $dialogs[$callId] = $token;
        $visits[$token] = ['line' => $line, 'callId' => $callId, 'us' => $us, 'them' => $head['from'], 'target' => $contact[1], 'cseq' => 0];
        $url = json_encode(['url' => 'http://127.0.0.1:' . HTTP_PORT . "/$token/"], JSON_UNESCAPED_SLASHES);
        send($line, 'SIP/2.0 200 OK', [...$common, "To: $us", 'Contact: <sip:127.0.0.1:' . SIP_PORT . ';transport=tcp>',
            'Content-Type: application/vnd.tollgate.access+json', 'Content-Disposition: session'], $url);
        return;
    }
    $status = !isset($dialogs[$callId]) && $method !== 'OPTIONS' ? '481 Call/Transaction Does Not Exist'
        : (in_array($method, ['INVITE', 'UPDATE']) ? '488 Not Acceptable Here' : '200 OK');
    if ($method === 'BYE' && isset($dialogs[$callId])) { // from now on the URL leads nowhere
        unset($visits[$dialogs[$callId]], $dialogs[$callId]);
    }
    $to = str_contains($head['to'], 'tag=') ? $head['to'] : "$head[to];tag=" . bin2hex(random_bytes(8));
    send($line, "SIP/2.0 $status", [...$common, "To: $to"]);
}

function fromBrowser($browser, string $start): void
{
    global $visits, $waiting;
    [$method, $path] = explode(' ', $start);
    [, $token, $item] = [...explode('/', $path), '', ''];
    if (!isset($visits[$token])) { say($browser, 404, "This visit is over.\n"); return; }
    if ($method !== 'POST') { say($browser, 200, "Riesling, Rioja: POST to buy one\n"); return; }
    if (!isset(PRICES[$item])) { say($browser, 404, "We have no such bottle.\n"); return; }
    $visit = &$visits[$token];
    $visit['cseq']++;
    $branch = 'z9hG4bK' . bin2hex(random_bytes(8));
    $waiting[$branch] = [$browser, $item];
    $charge = ['id' => $branch, 'item' => $item, 'unitPrice' => PRICES[$item], 'quantity' => '1', 'currency' => 'EUR'];
    send($visit['line'], "INFO $visit[target] SIP/2.0", ['Via: SIP/2.0/TCP 127.0.0.1:' . SIP_PORT . ";branch=$branch",
        'Max-Forwards: 70', "From: $visit[us]", "To: $visit[them]", "Call-ID: $visit[callId]", "CSeq: $visit[cseq] INFO",
        'Info-Package: tollgate-charge', 'Content-Disposition: Info-Package',
        'Content-Type: application/vnd.tollgate.charge+json'], json_encode(['charges' => [$charge]]));
}

echo "open\n";
while (true) {
    $ready = [$sip, $http, ...$relays, ...$browsers];
    $none = null;
    stream_select($ready, $none, $none, null);
    foreach ($ready as $one) {
        if ($one === $sip || $one === $http) {
            $connection = stream_socket_accept($one);
            $unread[(int) $connection] = '';
            if ($one === $sip) $relays[(int) $connection] = $connection;
            else $browsers[(int) $connection] = $connection;
            continue;
        }
        $id = (int) $one;
        $chunk = fread($one, 65536);
        if ($chunk === '' || $chunk === false) {
            unset($relays[$id], $browsers[$id], $unread[$id]);
            fclose($one);
            continue;
        }
        $unread[$id] .= $chunk;
        while (isset($unread[$id]) && ($message = nextMessage($unread[$id]))) {
            isset($relays[$id]) ? fromRelay($one, ...$message) : fromBrowser($one, $message[0]);
        }
    }
}
