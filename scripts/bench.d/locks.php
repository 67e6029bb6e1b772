<?php
// How a monitor in PHP looks at its locks: list, read, decode, ask for the process.
// php locks.php DIR ROUNDS prints the nanoseconds of each round.

[, $dir, $rounds] = $argv;

function scan(string $dir): int
{
    $alive = 0;
    clearstatcache();
    foreach (glob($dir . '/*.lock') as $file) {
        $lock = json_decode((string) file_get_contents($file), true);
        if (is_array($lock) && isset($lock['pid']) && posix_kill((int) $lock['pid'], 0)) {
            $alive++;
        }
    }
    return $alive;
}

scan($dir);
for ($round = 0; $round < (int) $rounds; $round++) {
    $began = hrtime(true);
    scan($dir);
    echo hrtime(true) - $began, "\n";
}
