import type { ReactNode } from 'react';
import Marked from 'react-markdown';
import tables from 'remark-gfm';

/** A model's text as Markdown. HTML in it stays text, and pictures are not fetched: whoever wrote it is not trusted. */
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
          // Headings of an answer are none of the page.
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
