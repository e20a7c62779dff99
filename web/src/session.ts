import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Session } from './api';

export const SessionContext = createContext<Session | undefined>(undefined);

/** Who looks, and what they may do; undefined until the server has said so. */
export const useSession = (): Session | undefined => useContext(SessionContext);

/** Whether acts are shown at all. */
export const useOperates = (): boolean => useSession()?.role === 'operate';
