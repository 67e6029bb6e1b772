<?php
// Encrypts standard input as Laravel does a string, written from the format alone.
//   php laravel_encrypt.php CIPHER KEY      KEY as in APP_KEY: base64:... or raw characters

[, $cipher, $key] = $argv;
if (str_starts_with($key, 'base64:')) {
    $key = base64_decode(substr($key, 7), true);
}
$iv = random_bytes(openssl_cipher_iv_length($cipher));
$tag = '';
$value = str_ends_with($cipher, '-gcm')
    ? openssl_encrypt(stream_get_contents(STDIN), $cipher, $key, 0, $iv, $tag)
    : openssl_encrypt(stream_get_contents(STDIN), $cipher, $key, 0, $iv);
if ($value === false) {
    fwrite(STDERR, openssl_error_string() . "\n");
    exit(1);
}
$iv = base64_encode($iv);
$mac = $tag === '' ? hash_hmac('sha256', $iv . $value, $key) : '';
$tag = base64_encode($tag);
echo base64_encode(json_encode(compact('iv', 'value', 'mac', 'tag'), JSON_UNESCAPED_SLASHES));
