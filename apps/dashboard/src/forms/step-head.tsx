/** Heading of a step of a form. */
export const StepHead = ({ number, name }: { number: number; name: string }) => (
  <h2 className="step">
    <span className="numbers" aria-hidden="true">
      {number}
    </span>
    {name}
  </h2>
);
