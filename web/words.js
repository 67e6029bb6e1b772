// Every text of the page in English and Russian, and how numbers, times and plurals are said.

const LANGUAGES = ["en", "ru"];

// key: [English, Russian]; {} stands for what is put in.
const TEXTS = {
  skip: ["Skip to the content", "К содержанию"],
  pages: ["Pages", "Страницы"],
  overview: ["Overview", "Обзор"],
  nodes: ["Nodes", "Ноды"],
  migrations: ["Migrations", "Миграции"],
  instances: ["Instances", "Экземпляры"],
  language: ["Language", "Язык"],
  theme: ["Theme", "Тема"],
  "theme.auto": ["System theme", "Тема системы"],
  "theme.light": ["Light", "Светлая"],
  "theme.dark": ["Dark", "Тёмная"],
  "link.wait": ["Connecting…", "Соединение…"],
  "link.live": ["Live", "Вживую"],
  "link.polling": ["Every few seconds", "Раз в несколько секунд"],
  "link.polling.why": ["The stream of events is interrupted; the lists are still read", "Поток событий прерван; списки читаются по-прежнему"],
  "link.lost": ["No connection", "Нет связи"],
  "lost": ["No connection to procwarden since {}. What you see is from {} and may be wrong by now; trying again.",
    "Нет связи с procwarden с {}. Здесь то, что было в {}, сейчас всё может быть иначе; пробуем снова."],
  "lost.never": ["procwarden does not answer. Trying again.", "procwarden не отвечает. Пробуем снова."],
  "back": ["Connected again", "Связь восстановлена"],
  "loading": ["Reading…", "Читаем…"],
  "nothing": ["Nothing here", "Здесь пусто"],
  "monitor": ["Monitor", "Монитор"],
  "monitor.ready": ["Watching", "Наблюдает"],
  "monitor.degraded": ["Watching, not at full strength", "Наблюдает не в полную силу"],
  "monitor.not_ready": ["Not watching", "Не наблюдает"],
  "monitor.draining": ["Stopping", "Останавливается"],
  "monitor.unknown": ["Not known", "Неизвестно"],
  "monitor.beat": ["last beat {}", "последний сигнал {}"],
  "monitor.pass": ["last pass {}", "последний обход {}"],
  "monitor.lag": ["at most {} late", "опоздание не больше {}"],
  "monitor.live": ["{} of {} live", "экземпляров на связи: {} из {}"],
  "component.nodes": ["Checks of nodes", "Проверки нод"],
  "component.migrations": ["Locks of migrations", "Lock-файлы миграций"],
  "component.database": ["Database", "База данных"],
  "component.events": ["News from the kernel", "События от ядра"],
  "component.server": ["Server", "Сервер"],
  "condition.ok": ["in order", "в порядке"],
  "condition.degraded": ["failing", "сбоит"],
  "condition.stale": ["standing still", "стоит"],
  "condition.unpublished": ["not begun", "не начато"],
  "condition.draining": ["stopping", "останавливается"],
  "condition.polling": ["in part, the rest by looking", "частично, остальное опросом"],
  "condition.off": ["off", "выключено"],
  "nodes.up": ["{} of {} up", "Работает {} из {}"],
  "nodes.none": ["None registered", "Не заведено ни одной"],
  "nodes.none.how": ["procwarden nodes add NAME --port PORT", "procwarden nodes add ИМЯ --port ПОРТ"],
  "nodes.allup": ["All nodes are up.", "Все ноды работают."],
  "nodes.down": ["Nodes that do not work", "Ноды, которые не работают"],
  "jobs": ["Jobs", "Задания"],
  "jobs.running": ["{} running", "Выполняется: {}"],
  "jobs.none": ["No migration was seen yet.", "Миграций ещё не было."],
  "jobs.calm": ["No job runs, and none needs attention.", "Ничего не выполняется и не требует внимания."],
  "jobs.now": ["Jobs now", "Задания сейчас"],
  "jobs.off": ["No lock directory is watched.", "Каталог lock-файлов не задан."],
  "job.turns": ["error in {}", "ошибка через {}"],
  "job.turns.now": ["turning to error", "становится ошибкой"],
  "changes": ["Changed in the last hour", "Изменилось за последний час"],
  "changes.none": ["Nothing changed in the last hour.", "За последний час ничего не изменилось."],
  "change.node": ["node", "нода"],
  "change.migration": ["migration", "миграция"],
  "change.many": ["{} changes of state", "Изменений состояния: {}"],
  "all": ["All", "Все"],
  "more": ["Show all {}", "Показать все: {}"],
  "more.older": ["Older", "Раньше"],
  "search": ["Search", "Поиск"],
  "search.nodes": ["Name, host, instance, reason", "Имя, хост, экземпляр, причина"],
  "search.migrations": ["Number, uuid, stage, PID, instance", "Номер, uuid, этап, PID, экземпляр"],
  "filter": ["By state", "По состоянию"],
  "found": ["{} of {}", "{} из {}"],
  "page": ["{}–{} of {}", "{}–{} из {}"],
  "page.previous": ["Previous", "Назад"],
  "page.next": ["Next", "Вперёд"],
  "page.pages": ["Pages of the table", "Страницы таблицы"],
  "none.found": ["Nothing matches.", "Ничего не найдено."],
  "col.state": ["State", "Состояние"],
  "col.name": ["Name", "Имя"],
  "col.reason": ["Why", "Почему"],
  "col.since": ["Since", "С каких пор"],
  "col.latency": ["Latency", "Задержка"],
  "col.uptime": ["Up 24 h / 30 d", "Работала 24 ч / 30 д"],
  "col.host": ["Host", "Хост"],
  "col.instance": ["Instance", "Экземпляр"],
  "col.migration": ["Migration", "Миграция"],
  "col.stage": ["Stage", "Этап"],
  "col.progress": ["Progress", "Ход"],
  "col.pid": ["PID", "PID"],
  "col.run": ["Run", "Попытка"],
  "col.version": ["Version", "Версия"],
  "col.beat": ["Last beat", "Последний сигнал"],
  "col.pass": ["Pass", "Обход"],
  "col.locks": ["Locks", "Lock-файлы"],
  "col.when": ["When", "Когда"],
  "col.what": ["What", "Что"],
  "col.condition": ["Condition", "Условие"],
  "col.seen": ["Seen", "Увидено"],
  "col.needed": ["Needed", "Нужно"],
  "col.holds": ["Holds", "Выполнено"],
  "yes": ["yes", "да"],
  "no": ["no", "нет"],
  "page.of": ["{} of {} pages", "{} из {} страниц"],
  "percent.of": ["{} %", "{} %"],
  "title": ["Title", "Название"],
  "address": ["Address", "Адрес"],
  "daemon": ["Daemon", "Демон"],
  "kind": ["Kind", "Вид"],
  "asked": ["Asked and expected", "Что спрашивается и ожидается"],
  "program": ["Program", "Программа"],
  "owner": ["Watched by", "Кто наблюдает"],
  "checked": ["Last look", "Последний взгляд"],
  "method": ["by", "способом"],
  "maintenance": ["No alerts until", "Без оповещений до"],
  "message": ["Message", "Сообщение"],
  "tls": ["TLS", "TLS"],
  "check": ["Check now", "Проверить сейчас"],
  "checking": ["Checking…", "Проверяем…"],
  "check.what": ["Process, port and API, looked at now. Nothing is recorded.", "Процесс, порт и API, прямо сейчас. Ничего не записывается."],
  "check.good": ["It works", "Работает"],
  "check.bad": ["It does not work", "Не работает"],
  "check.record": ["from the record: not looked at from here", "по записи: отсюда не проверялось"],
  "check.failed": ["The check could not be made: {}", "Проверить не удалось: {}"],
  "details.known": ["What is known", "Что известно"],
  "details": ["All that was seen", "Всё, что увидено"],
  "latency.here": ["Since this page was opened", "С открытия этой страницы"],
  "uptime": ["Uptime", "Время работы"],
  "uptime.unknown": ["nobody watched for {}", "без наблюдения {}"],
  "uptime.none": ["not known", "неизвестно"],
  "period.24h": ["24 hours", "24 часа"],
  "period.7d": ["7 days", "7 дней"],
  "period.30d": ["30 days", "30 дней"],
  "history": ["History", "История"],
  "history.none": ["No change is recorded yet.", "Изменений пока не записано."],
  "back.nodes": ["All nodes", "Все ноды"],
  "back.migrations": ["All migrations", "Все миграции"],
  "gone.node": ["There is no node {}.", "Ноды {} нет."],
  "gone.migration": ["There is no migration {}.", "Миграции {} нет."],
  "why": ["What the monitor thinks, and why", "Что думает монитор и почему"],
  "verdict": ["Conclusion", "Вывод"],
  "would": ["Would do now", "Сделал бы сейчас"],
  "would.nothing": ["nothing", "ничего"],
  "process": ["Process", "Процесс"],
  "process.alive": ["running", "работает"],
  "process.notalive": ["not running, as far as can be told", "не работает, насколько можно судить"],
  "process.unwatched": ["watched by another instance; this is the record", "наблюдает другой экземпляр; это запись"],
  "process.user": ["User", "Пользователь"],
  "process.memory": ["Memory", "Память"],
  "process.started": ["Started", "Запущен"],
  "process.command": ["Command", "Команда"],
  "ended": ["How it ended", "Как закончился"],
  "exit.code": ["exited with {}", "завершился с кодом {}"],
  "exit.signal": ["killed by {}", "убит сигналом {}"],
  "exit.unknown": ["not known", "неизвестно"],
  "status": ["Status", "Статус"],
  "status.source": ["said by", "со слов"],
  "status.error": ["Error", "Ошибка"],
  "ended.at": ["Ended", "Завершена"],
  "lock": ["Lock", "Lock-файл"],
  "lock.stands": ["stands", "на месте"],
  "lock.gone": ["is gone", "удалён"],
  "lock.age": ["written {} ago", "записан {} назад"],
  "stage.since": ["Stage since", "Этап с"],
  "first.seen": ["First seen", "Впервые увидена"],
  "unreadable": ["Locks that cannot be judged", "Lock-файлы, о которых нельзя судить"],
  "signin": ["A token is needed", "Нужен токен"],
  "signin.why": ["Reads are protected here. Enter the read token once; this browser keeps a session, not the token.",
    "Чтение здесь защищено. Введите токен чтения один раз; браузер сохранит сеанс, а не сам токен."],
  "signin.token": ["Read token", "Токен чтения"],
  "signin.go": ["Sign in", "Войти"],
  "signin.wrong": ["This token is not accepted.", "Этот токен не подходит."],
  "signin.failed": ["It did not work: {}", "Не получилось: {}"],
  "signout": ["Sign out", "Выйти"],
  "sparkline": ["Latency, {} looks, from {} to {} ms", "Задержка, взглядов: {}, от {} до {} мс"],
  "ms": ["{} ms", "{} мс"],
  "ago": ["{} ago", "{} назад"],
  "for": ["for {}", "уже {}"],
  "just": ["just now", "только что"],
};

// Words of the API that stand for something; a word that is not here is shown as it is.
const WORDS = {
  up: ["up", "работает"],
  down: ["down", "не работает"],
  unknown: ["unknown", "неизвестно"],
  stale: ["not fresh", "устарело"],
  disabled: ["disabled", "отключена"],
  running: ["running", "выполняется"],
  alive: ["alive", "жив"],
  waiting: ["process gone", "процесса нет"],
  gone: ["gone", "исчез"],
  stalled: ["standing still", "стоит"],
  foreign: ["another host's", "другого хоста"],
  finished: ["finished", "закончена"],
  dying: ["dead, in grace", "мёртв, отсрочка"],
  done: ["done", "готово"],
  pending: ["pending", "ожидает"],
  in_progress: ["in progress", "выполняется"],
  success: ["success", "успех"],
  completed: ["completed", "завершена"],
  error: ["error", "ошибка"],
  live: ["live", "на связи"],
  lost: ["lost", "потерян"],
  pid_missing: ["no PID is known", "PID неизвестен"],
  process_gone: ["the process is gone", "процесса больше нет"],
  process_zombie: ["the process is a zombie", "процесс — зомби"],
  process_stopped: ["the process is stopped by a signal", "процесс остановлен сигналом"],
  wrong_process: ["the PID is another program's", "PID у другой программы"],
  pid_adopted: ["the listener of its port was taken for it", "принят процесс, который слушает её порт"],
  pid_not_applicable: ["on another host", "на другом хосте"],
  restarted: ["it was restarted", "перезапущена"],
  port_closed: ["nothing listens on the port", "порт никто не слушает"],
  port_taken: ["another program has the port", "порт занят другой программой"],
  connect_timeout: ["no connection in time", "нет соединения вовремя"],
  api_timeout: ["no answer in time", "нет ответа вовремя"],
  unauthorized: ["the login is refused", "вход отклонён"],
  http_status: ["an unexpected HTTP status", "неожиданный статус HTTP"],
  not_json_rpc: ["the answer is not JSON-RPC", "ответ не JSON-RPC"],
  rpc_error: ["the RPC answers with an error", "RPC отвечает ошибкой"],
  wrong_service: ["another service answers", "отвечает другая служба"],
  tls: ["TLS failed", "сбой TLS"],
  dns: ["the host name is not known", "имя хоста не найдено"],
  io: ["the connection broke", "соединение оборвалось"],
  busy: ["busy", "занята"],
  hung: ["it hangs", "зависла"],
  instance_lost: ["its instance is lost", "её экземпляр потерян"],
  secret_unreadable: ["its password cannot be read", "её пароль не прочесть"],
  pid_reused: ["the PID is another process", "PID у другого процесса"],
  rebooted: ["the machine was restarted", "машину перезагружали"],
  killed: ["killed", "убит"],
  exited: ["the process exited", "процесс завершился"],
  lock_removed: ["the lock was removed", "lock-файл удалён"],
  no_pid: ["the lock names no process", "в lock-файле нет процесса"],
  pid_namespace: ["maybe in another PID namespace", "возможно, в другом пространстве PID"],
  reported: ["its runner said so", "сообщил раннер"],
  monitor: ["the monitor", "монитора"],
  runner: ["the runner", "раннера"],
  operator: ["an operator", "оператора"],
  lock_released: ["the lock, which was released", "удалённого lock-файла"],
  lock_released_unwatched: ["the lock, released while nobody watched", "lock-файла, удалённого без наблюдения"],
  adopted: ["the adopted table", "принятой таблицы"],
  process_dead: ["The process is dead", "Процесс мёртв"],
  process_alive: ["The process is alive", "Процесс жив"],
  seen_dead_for: ["Seen dead for", "Мёртв на глазах"],
  lock_age: ["The lock is as old as", "Возраст lock-файла"],
  lock_missing_for: ["The lock is missing for", "Lock-файла нет"],
  row_unfinished: ["The run is not finished", "Попытка не закончена"],
  instance: ["Instance", "Экземпляр"],
  none: ["leave it as it is", "оставить как есть"],
  wait: ["wait", "ждать"],
  set_error: ["set the error", "поставить ошибку"],
  set_completed: ["set completed", "поставить завершение"],
  remove_lock: ["remove the lock", "удалить lock-файл"],
  not_json: ["not JSON", "не JSON"],
  empty: ["empty", "пуст"],
  too_large: ["too large", "слишком велик"],
  not_a_file: ["not a file", "не файл"],
  permission: ["may not be read", "нет прав на чтение"],
  not_utf8: ["not UTF-8", "не UTF-8"],
  id_mismatch: ["name and content differ", "имя и содержимое расходятся"],
  duplicate: ["a second one for the same id", "второй с тем же номером"],
  bad_pid: ["no PID that can be", "невозможный PID"],
};

const COUNTED = {
  node: [["node", "nodes"], ["нода", "ноды", "нод"]],
  lock: [["lock", "locks"], ["lock-файл", "lock-файла", "lock-файлов"]],
  instance: [["instance", "instances"], ["экземпляр", "экземпляра", "экземпляров"]],
};
const UNITS = [["d", "д"], ["h", "ч"], ["min", "мин"], ["s", "с"]];

let index = Math.max(0, LANGUAGES.indexOf(document.documentElement.lang));
let formats = made();

function made() {
  const name = LANGUAGES[index];
  return {
    number: new Intl.NumberFormat(name, { maximumFractionDigits: 1 }),
    exact: new Intl.NumberFormat(name, { maximumFractionDigits: 2, minimumFractionDigits: 2 }),
    clock: new Intl.DateTimeFormat(name, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }),
    moment: new Intl.DateTimeFormat(name, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" }),
    plural: new Intl.PluralRules(name),
  };
}

/** The language that is spoken, and another one from now on. */
export const language = () => LANGUAGES[index];
export function speak(name) {
  index = Math.max(0, LANGUAGES.indexOf(name));
  formats = made();
  document.documentElement.lang = LANGUAGES[index];
}

/** A text, with what stands for each {}. */
export function t(key, ...given) {
  const text = TEXTS[key]?.[index] ?? key;
  return given.length ? text.replace(/\{\}/g, () => String(given.shift() ?? "")) : text;
}

/** A word of the API; null for none. */
export const word = (name) => (name ? WORDS[name]?.[index] ?? String(name) : null);

/** The same at the beginning of a line. */
export function word_up(name) {
  const text = word(name) ?? "";
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const number = (value) => formats.number.format(value);

/** `3 nodes`, by the language's rules. */
export function counted(n, what) {
  const forms = COUNTED[what][index];
  const which = { one: 0, few: 1, many: 2, other: forms.length - 1 }[formats.plural.select(n)];
  return `${number(n)} ${forms[Math.min(which, forms.length - 1)]}`;
}

/** `2 down`, and where words are inflected `не работает: 2`. */
export const tally = (n, name) => (language() === "en" ? `${number(n)} ${word(name)}` : `${word(name)}: ${number(n)}`);

/** A share as per cent, never rounded up to a hundred. */
export function percent(ratio) {
  const value = ratio * 100;
  return t("percent.of", value >= 100 ? "100" : formats.exact.format(Math.floor(value * 100) / 100));
}

/** `3 min 20 s`: the two largest units, of seconds. */
export function lasting(seconds) {
  let rest = Math.max(0, Math.floor(seconds));
  const sizes = [86400, 3600, 60, 1];
  const first = sizes.findIndex((size) => rest >= size);
  if (first < 0) return `0 ${UNITS[3][index]}`;
  const parts = [];
  for (let i = first; i < Math.min(first + 2, 4); i += 1) {
    const n = Math.floor(rest / sizes[i]);
    rest -= n * sizes[i];
    if (n || i === first) parts.push(`${n} ${UNITS[i][index]}`);
  }
  return parts.join(" ");
}

/** A time of the day, and a moment in full; milliseconds since the epoch. */
export const clock = (ms) => formats.clock.format(ms);
export const moment = (ms) => formats.moment.format(ms);
