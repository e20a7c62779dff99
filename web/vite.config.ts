import { defineConfig } from 'vite';

// What is built is committed and embedded into the program, and CI compares it byte for byte with a fresh build: so names come from
// content alone, and nothing in a file says where, when or in which order it was made.
export default defineConfig({
  build: {
    outDir: '../internal/console/dist',
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the page's policy allows no data: addresses
    reportCompressedSize: false,
    rollupOptions: {
      output: {
        entryFileNames: 'assets/[name]-[hash].js',
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
      },
    },
  },
  server: {
    proxy: { '/api': process.env['CROSSFADE_CONSOLE'] ?? 'http://127.0.0.1:15010' },
  },
});
