/** How many columns of a terminal a text takes, so that a caret stands below what it points at. */

/** A tab stays one character: whoever draws below it repeats it. */
export const columnsOf = (character: string): number => (/^\p{M}$/u.test(character) ? 0 : isWide(character) ? 2 : 1)

/** East Asian wide and full-width characters, and emoji (Unicode 16, UAX 11 by block). */
const isWide = (character: string): boolean => {
  const code = character.codePointAt(0)!
  return code >= 0x1100 && wide.some(([first, last]) => code >= first && code <= last)
}

const wide: ReadonlyArray<readonly [number, number]> = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff],
  [0x1f900, 0x1f9ff],
  [0x20000, 0x3fffd],
]
