import type { Origin } from '../api';

/** Where in configuration something stands: the file's name and line, and its whole path for who points at it. */
export function Where({ of: o }: { of: Origin | undefined }) {
  if (!o?.file) return null;
  const name = o.file.slice(o.file.lastIndexOf('/') + 1);
  return <code title={o.file}>{o.line ? `${name}:${o.line}` : name}</code>;
}
