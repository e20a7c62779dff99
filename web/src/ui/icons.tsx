import type { ComponentChildren } from 'preact';

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      {children}
    </svg>
  );
}

export const Logo = () => (
  <svg viewBox="0 0 32 32" fill="none" stroke-width="3.4" stroke-linecap="round" aria-hidden="true">
    <path class="from" d="M4 9c10 0 14 14 24 14" />
    <path class="to" d="M4 23C14 23 18 9 28 9" />
  </svg>
);
export const OverviewIcon = () => <Icon><path d="M3 4h14M3 8h14M3 12h14M3 16h9" /></Icon>;
export const TopologyIcon = () => <Icon><circle cx="4" cy="10" r="2" /><circle cx="16" cy="4.5" r="2" /><circle cx="16" cy="15.5" r="2" /><path d="M6 9.3C10 8.5 10 4.5 14 4.5M6 10.7c4 .8 4 4.8 8 4.8" /></Icon>;
export const InstancesIcon = () => <Icon><path d="M3 15c5 0 5-10 9-10h5" /><path d="M3 17.5h14" /></Icon>;
export const ReleasesIcon = () => <Icon><path d="M3 6c6 0 8 8 14 8M3 14c6 0 8-8 14-8" /></Icon>;
export const SettingsIcon = () => <Icon><path d="M3 6h8m4 0h2M3 14h2m4 0h8" /><circle cx="13" cy="6" r="2" /><circle cx="7" cy="14" r="2" /></Icon>;
export const EventsIcon = () => <Icon><circle cx="10" cy="10" r="7" /><path d="M10 6v4l2.6 2" /></Icon>;
export const UpIcon = () => <Icon><path d="m5 12.5 5-5 5 5" /></Icon>;
export const DownIcon = () => <Icon><path d="m5 7.5 5 5 5-5" /></Icon>;
export const MoreIcon = () => <Icon><path d="M5 10h.01M10 10h.01M15 10h.01" stroke-width="2.6" /></Icon>;
export const CheckIcon = () => <Icon><path d="m4.5 10.5 3.5 3.5 7.5-8" /></Icon>;
export const AlertIcon = () => <Icon><path d="M10 3.5 17.5 16.5h-15zM10 8.5v3.5M10 14.3v.01" /></Icon>;
export const InfoIcon = () => <Icon><circle cx="10" cy="10" r="7" /><path d="M10 9.5v4M10 6.7v.01" /></Icon>;
export const UnknownIcon = () => <Icon><circle cx="10" cy="10" r="7" /><path d="M8 8a2 2 0 1 1 2.7 1.9c-.5.2-.7.6-.7 1.3M10 13.7v.01" /></Icon>;
export const RunningIcon = () => <Icon><path d="M16.5 10a6.5 6.5 0 1 1-2-4.7M16.5 3v3h-3" /></Icon>;
export const LightIcon = () => <Icon><circle cx="10" cy="10" r="3.2" /><path d="M10 2.5v1.5M10 16v1.5M2.5 10H4M16 10h1.5M4.7 4.7l1 1M14.3 14.3l1 1M15.3 4.7l-1 1M5.7 14.3l-1 1" /></Icon>;
export const DarkIcon = () => <Icon><path d="M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7z" /></Icon>;
export const SystemIcon = () => <Icon><rect x="2.5" y="4" width="15" height="10" rx="1.5" /><path d="M7.5 17h5" /></Icon>;
export const DownloadIcon = () => <Icon><path d="M10 3v9m-3.5-3.5L10 12l3.5-3.5M4 16h12" /></Icon>;
