import './style/tokens.css';
import './style/base.css';
import './style/shell.css';
import './style/parts.css';
import './style/tables.css';
import './style/charts.css';
import { render } from 'preact';
import { App } from './app';
import { show, theme } from './theme';

show(theme());
render(<App />, document.getElementById('page')!);
