import { useEffect } from 'preact/hooks';

/** Asks before a page is left on which something was typed that is not applied: by a link, or by closing it. */
export function useKept(changed: boolean): void {
  useEffect(() => {
    if (!changed) return;
    const closing = (e: BeforeUnloadEvent) => e.preventDefault();
    const leaving = (e: MouseEvent) => {
      const a = e.target instanceof Element ? e.target.closest('a') : null;
      if (!a || a.target || a.origin !== location.origin || a.hasAttribute('download')) return;
      if (confirm('What you have typed is not applied. Leave it?')) return;
      e.preventDefault();
      e.stopPropagation();
    };
    addEventListener('beforeunload', closing);
    document.addEventListener('click', leaving, true);
    return () => {
      removeEventListener('beforeunload', closing);
      document.removeEventListener('click', leaving, true);
    };
  }, [changed]);
}
