<?php
// The earlier monitor's rules and nothing else, apart from procwarden's code: what it does with a directory of locks.
// Prints one line of JSON for each act. Ends with the first signal that ends it.
//
//   php old_monitor.php DIRECTORY INTERVAL_MS GRACE_S [DSN USER PASSWORD]

declare(strict_types=1);

[, $directory, $interval, $grace] = $argv;
$grace = (int) $grace;
$pdo = null;
if (isset($argv[4])) {
    $pdo = new PDO($argv[4], $argv[5], $argv[6], [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function say(string $act, string $path, array $more = []): void
{
    echo json_encode(['act' => $act, 'file' => basename($path)] + $more), "\n";
}

/** The status is one key of a JSON text; the others stay. */
function set_error(?PDO $pdo, array $lock, string $path, string $error): void
{
    if ($pdo === null || !isset($lock['mb_project_uuid'], $lock['brz_project_id'])) {
        return;
    }
    $ids = [(int) $lock['brz_project_id'], (string) $lock['mb_project_uuid']];
    $where = 'WHERE brz_project_id = ? AND mb_project_uuid = ?';
    $select = $pdo->prepare("SELECT changes_json FROM migrations_mapping $where");
    $select->execute($ids);
    $old = $select->fetchColumn();
    $changes = json_decode(is_string($old) ? $old : '', true);
    $changes = is_array($changes) ? $changes : [];
    $changes['status'] = 'error';
    $changes['error'] = $error;
    $changes['status_updated_at'] = date('Y-m-d H:i:s');
    $changes['monitor_updated'] = true;
    $text = json_encode($changes, JSON_UNESCAPED_UNICODE);
    $update = $pdo->prepare("UPDATE migrations_mapping SET changes_json = ? $where");
    $update->execute([$text, ...$ids]);
    say('error', $path, ['rows' => $update->rowCount()]);
}

function look(string $path, int $grace, ?PDO $pdo): void
{
    // PHP remembers what it asked of a file once.
    clearstatcache();
    $text = @file_get_contents($path);
    if ($text === false) {
        say('unreadable', $path);
        return;
    }
    $lock = json_decode($text, true);
    $lock = is_array($lock) ? $lock : [];
    $pid = (int) ($lock['pid'] ?? 0);
    if ($pid > 0 && posix_kill($pid, 0)) {
        $lock['last_check'] = date('Y-m-d H:i:s');
        $lock['last_check_timestamp'] = time();
        $done = @file_put_contents($path, json_encode($lock, JSON_PRETTY_PRINT));
        say($done === false ? 'denied' : 'alive', $path, ['pid' => $pid]);
        return;
    }
    $age = time() - (int) @filemtime($path);
    if ($age <= $grace) {
        say('waits', $path, ['age' => $age]);
        return;
    }
    set_error($pdo, $lock, $path, $pid > 0 ? "Process $pid is not running" : 'The lock has no PID');
    say(@unlink($path) ? 'removed' : 'denied', $path);
}

while (true) {
    foreach (glob($directory . '/*.lock') ?: [] as $path) {
        look($path, $grace, $pdo);
    }
    echo json_encode(['act' => 'round']), "\n";
    usleep(1000 * (int) $interval);
}
