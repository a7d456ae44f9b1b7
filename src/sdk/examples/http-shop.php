<?php // http-shop.php: an app server that speaks HTTP and no SIP (ops/guide/http.md), without any package:
// php -S 127.0.0.1:8086 http-shop.php
const RELAY = 'http://127.0.0.1:8088', SELF = 'http://127.0.0.1:8086', PRICES = ['Riesling' => '12.50', 'Rioja' => '24.50'];

function decoded(string $text): string { return base64_decode(strtr($text, '-_', '+/')); }

/** Whether the relay has sent this body: a JWT, whose signature OpenSSL wants in DER. */
function isOfRelay(string $body): bool
{
    [$head, $claims, $signature] = explode('.', substr($_SERVER['HTTP_AUTHORIZATION'] ?? '', 7) . '..');
    $number = fn ($half) => ord($half = ltrim($half, "\0")) > 127 ? "\0$half" : $half;
    $numbers = array_map($number, str_split(decoded($signature) . "\1", 32));
    $der = fn ($tag, $content) => $tag . chr(strlen($content)) . $content;
    $pair = $der("\x30", $der("\2", $numbers[0]) . $der("\2", $numbers[1] ?? ''));
    $key = file_get_contents(RELAY . '/identity/certificate.pem');
    $said = json_decode(decoded($claims));
    return openssl_verify("$head.$claims", $pair, $key, 'sha256') === 1 && $said->iss === RELAY && $said->aud === SELF
        && $said->exp > time() && $said->sha256 === hash('sha256', $body);
}

/** The file of what was bought in a visit, by the session's id, which nobody can guess. */
function basket(string $session): string { return sys_get_temp_dir() . '/visit-' . hash('sha256', $session); }

[, $visit, $item] = explode('/', "{$_SERVER['REQUEST_URI']}//");
$body = file_get_contents('php://input');
if ($visit === 'tollgate') {
    if ($body === '' || !isOfRelay($body)) exit(http_response_code($body === '' ? 200 : 403)); // '': OPTIONS
    $event = json_decode($body);
    $file = basket($event->session);
    if ($event->type === 'session.requested') file_put_contents($file, '');
    if ($event->type === 'session.ended' && is_file($file)) rename($file, "$file.over"); // the same event may come again
    $bought = $event->type === 'session.ended' && is_file("$file.over") ? file("$file.over", FILE_IGNORE_NEW_LINES) : [];
    $charge = fn ($n, $item) => ['id' => "$n", 'item' => $item, 'unitPrice' => PRICES[$item], 'currency' => 'EUR'];
    $charges = array_map($charge, array_keys($bought), $bought);
    exit(json_encode($event->type === 'session.requested' ? ['url' => SELF . "/$event->session/"] : compact('charges')));
}
if (!is_file(basket($visit))) exit("This visit is over.\n");
if ($item === '') exit("Riesling, Rioja: POST to buy one\n");
if (isset(PRICES[$item])) file_put_contents(basket($visit), "$item\n", FILE_APPEND);
echo isset(PRICES[$item]) ? "$item is yours.\n" : "We have no such bottle.\n";
