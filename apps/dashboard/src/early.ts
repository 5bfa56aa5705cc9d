// First script of index.html. It requests the page at the same time as the frame around it, not after it.
import { preloadPage } from './page-code.js';

preloadPage(location.pathname);
