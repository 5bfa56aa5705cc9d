import type { ReactNode } from 'react';
import Marked from 'react-markdown';
import tables from 'remark-gfm';

/** Renders a model's text as Markdown. The text is not trusted: HTML stays text and images are not loaded. */
export function Markdown({ text }: { text: string }) {
  return (
    <div className="markdown">
      <Marked
        remarkPlugins={[tables]}
        disallowedElements={['img', 'input']}
        unwrapDisallowed
        components={{
          a: ({ href, children }) => (
            <a href={href} target="_blank" rel="noopener noreferrer nofollow">
              {children}
            </a>
          ),
          // Headings of an answer are not headings of the page.
          h1: Heading,
          h2: Heading,
          h3: Heading,
          h4: Heading,
          h5: Heading,
          h6: Heading,
          pre: ({ children }) => <pre tabIndex={0}>{children}</pre>,
        }}
      >
        {text}
      </Marked>
    </div>
  );
}

const Heading = ({ children }: { children?: ReactNode }) => (
  <p>
    <b>{children}</b>
  </p>
);
