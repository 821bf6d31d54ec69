/** Names that are odd, each with what the rules of each platform say: the corpus that all tests of names share. */

/** What a refusal says; undefined where the name is taken. */
type Refusal = RegExp | undefined;

export interface OddName {
  readonly name: Buffer;
  readonly posix: Refusal;
  readonly windows: Refusal;
}

const utf8 = (text: string) => Buffer.from(text, "utf8");
/** "\xNN" is that byte. */
const raw = (text: string) => Buffer.from(text, "latin1");
const bytesOf = (name: string | Buffer) => (typeof name === "string" ? utf8(name) : name);

const everywhere = (...names: (string | Buffer)[]): OddName[] =>
  names.map((name) => ({ name: bytesOf(name), posix: undefined, windows: undefined }));
const onlyPosix = (windows: RegExp, ...names: (string | Buffer)[]): OddName[] =>
  names.map((name) => ({ name: bytesOf(name), posix: undefined, windows }));
const nowhere = (why: RegExp, ...names: (string | Buffer)[]): OddName[] =>
  names.map((name) => ({ name: bytesOf(name), posix: why, windows: why }));

const codes = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const DEVICES = [
  "con",
  "prn",
  "aux",
  "nul",
  "conin$",
  "conout$",
  ...codes(0, 9).flatMap((n) => [`com${n}`, `lpt${n}`]),
];

/** Two names that are one to a file system that folds, and two to any other. */
export const PAIRS: readonly (readonly [string, string])[] = [
  ["Readme", "README"],
  ["a", "A"],
  ["\u00e9", "e\u0301"],
  ["\u00c5", "A\u030a"],
  ["\u212b", "\u00c5"],
  ["\u1e9b\u0323", "\u1e9b\u0323".normalize("NFD")],
  ["\uac00", "\u1100\u1161"],
  ["stra\u00dfe", "STRASSE"],
  ["\u0130", "i\u0307"],
  ["\u03c3", "\u03c2"],
  ["\ufb01le", "file"],
  ["\u0436", "\u0416"],
];

// biome-ignore format: a line for each of them would be all that one sees
export const ODD_NAMES: readonly OddName[] = [
  // What shells, options and other tools trip over.
  ...everywhere("-", "--", "-rf", "--help", "~", "~root", "$HOME", "$x", "$(id)", "`id`", "!!", "#", "#a", "a#b",
    "%", "%s%n", "%00", "%2e%2e%2f"),
  ...everywhere("'", "''", "it's", "a'b'c", ";", "a;b", "&", "&&", "a & b", "(", ")", "[", "]", "[a-z]", "{", "}",
    "{a,b}", "^", "@", "@file", "=", "a=b", "+", ",", "a,b"),
  ...everywhere(" ", "   x", " a", "a b", "a  b", "\u00a0", "\u00a0a\u00a0", "\u2003", "\u3000x", "0", "00", "-1",
    "1e9", "null", "undefined", "NaN", "true", "__proto__", "constructor", "toString",
    "hasOwnProperty").map((one) => (one.name.toString() === " " ? { ...one, windows: /dot or a space/ } : one)),
  // Begun with dots, and nothing but dots.
  ...everywhere(".a", "..a", "...a", ".bashrc", ".a.b", "..\u200b", ".git/config",
    ".hawser2", ".hawse", "hawser", ".hawserx/y", "x.hawser", "hawser~"),
  ...onlyPosix(/dot or a space/, "...", "....", "a.", "a..", "a ", "a. ", "a .", ". .", ".. .", "d./x", "d /x",
    ".a.", "x/..."),
  // Control characters: every one of them but NUL.
  ...onlyPosix(/control character/, ...codes(1, 31).map((code) => `a${String.fromCharCode(code)}b`)),
  ...onlyPosix(/control character/, "\t", "\n", "\r\n", "\u001b", "\u001b[2J", "\u001b[31mred\u001b[0m",
    "\u001b]0;title\u0007", "\u001b]8;;x\u0007y", "\b\b\b\b", "a\nhawser committed", "\u001bc"),
  ...everywhere("\u007f", "a\u007fb", "\u0080", "\u0085", "\u009b31m", "\u009d0;t\u009c", "\u00ad", "\u2028",
    "\u2029"),
  // What Windows forbids.
  ...onlyPosix(/is allowed/, ...'<>:"|?*\\'.split("").flatMap((char) => [char, `a${char}b`])),
  ...onlyPosix(/is allowed/, "C:\\x", "C:x", "c:", "\\\\server\\share", "\\\\?\\C:\\x", "..\\x", "..\\..\\etc",
    "a\\..\\b", "file.txt:stream", "file::$DATA", 'say "hi"', "what?", "a|b", "x\\"),
  ...onlyPosix(/device/, ...DEVICES, ...DEVICES.slice(0, 8).map((name) => name.toUpperCase())),
  ...onlyPosix(/device/, "NUL.txt", "nul.tar.gz", "d/con/x", "con/x", "con .txt", "com\u00b9", "COM\u00b2.log",
    "lpt\u00b3", "Aux.", "nul "),
  ...everywhere("console", "con-", "con_", "xcon", "nulx", "nul-1.txt", "com", "com10", "lpt", "lpt11",
    "com\u2074", "auxiliary"),
  // Not UTF-8.
  ...onlyPosix(/not UTF-8/, raw("caf\xe9"), raw("\xff"), raw("\xff\xfe"), raw("\x80"), raw("a\x80b"),
    raw("\xc0\xaf"), raw("\xc0\xae\xc0\xae"), raw("\xe0\x80\xaf"), raw("\xed\xa0\x80"), raw("\xf0\x82\x82\xac"),
    raw("\xf5\x80\x80\x80"), raw("\xc3"), raw("\xe2\x82"), raw("d\xe9/x"), raw("\xff.hawser"),
    raw("\xfe\xffa"), raw("\x83e\x83X\x83g"), raw("\xb2\xe2\xca\xd4")),
  // Scripts, directions, marks, and what nobody sees.
  ...everywhere("\u202egpj.exe", "a\u202db", "\u2066a\u2069", "a\u2067b\u2068", "\u200f\u05d0", "\u200e", "\u061c",
    "\u200b", "a\u200bb", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufeffa", "a\ufeff", "\u{e0041}", "\u115f",
    "\u3164", "\u034f", "\ufe0f"),
  ...everywhere("\u0301", "a\u0301\u0302\u0303\u0304\u0305\u0306", `z${"\u0335".repeat(100)}`, "\u0e33\u0e33",
    "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u6f22\u5b57", "\ud55c\uae00",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "\u{1f6a2}", "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}",
    "\u{1f1e9}\u{1f1ea}", "\u{10ffff}", "\uffff", "\ufffd", "\ue000"),
  ...everywhere("\uff0f", "a\uff0fb", "\u2215", "\u2044etc", "\uff0e\uff0e", "\u2024\u2024", "\uff0e\uff0e/x",
    "\uff3c", "\uff1a", "\u0337", "C\ua789x"),
  // Long.
  ...everywhere("x".repeat(255), `${"x".repeat(255)}/${"y".repeat(255)}`, "\u00e9".repeat(127),
    "\u6f22".repeat(85), "\u{1f6a2}".repeat(63), `${"e\u0301".repeat(85)}`, `${"d/".repeat(300)}x`,
    `${"x".repeat(251)}.txt`, ` ${"-".repeat(254)}`),
  ...nowhere(/256 bytes long, and 255/, "x".repeat(256), `a/${"x".repeat(256)}`, `${"x".repeat(256)}/a`,
    "\u00e9".repeat(128), "\u{1f6a2}".repeat(64)),
  ...nowhere(/bytes long, and 4095/, "d/".repeat(2048), `${"x".repeat(255)}/`.repeat(16), "x".repeat(5000)),
  // What leads elsewhere.
  ...nowhere(/it is empty/, ""),
  ...nowhere(/absolute/, "/", "//", "/etc/passwd", "//server/share", "/.", "/..", "/a/../b"),
  ...nowhere(/not a name/, ".", "./", "./a", "a/.", "a/./b", "././."),
  ...nowhere(/leads out/, "..", "../", "../a", "../../etc/passwd", "a/..", "a/../b", "a/../../b", "a/b/../../../c",
    "..//"),
  ...nowhere(/component of it is empty/, "a/", "a//", "a//b", "a///b", "a/b/"),
  ...nowhere(/NUL/, "\0", "a\0", "\0a", "a\0b", "a/b\0.txt", "a.txt\0.png", "..\0", raw("\xff\0")),
  // The server's own, and what a file system may take for it.
  ...nowhere(/belongs to the server/, ".hawser", ".hawser/x", ".hawser/parts/1.part", ".hawser/sessions.db",
    "a/.hawser", "a/.hawser/b", ".HAWSER", ".Hawser", ".hAwSeR/parts", ".haw\u017fer", ".HAW\u017fER",
    ".haw\u200cser", ".hawser\u200d/x", "\ufeff.hawser", ".hawser\ufe0f", ".ha\u00adwser", "\uff0ehawser",
    ".\uff48awser", ".\u{1d421}awser"),
  ...onlyPosix(/belongs to the server/, ".hawser.", ".hawser ", ".hawser . .", ".HAWSER...", "hawser~1",
    "HAWSER~1", "a/HAWSER~12"),
  ...PAIRS.flatMap((pair) => everywhere(...pair)),
];
