/** Sections of the form, with the height of what is always visible below their line. */
const SECTIONS = [
  ['Data', 0],
  ['Goal', 0],
  ['Model', 0],
  ['Method', 150],
  ['Length', 90],
] as const;

/** The form until its lists and the catalog have arrived. */
export const FormSkeleton = () => (
  <div className="new-job" role="status" aria-label="Loading">
    <div className="job-sections">
      {SECTIONS.map(([title, height]) => (
        <section key={title} className="form-section">
          <h2>{title}</h2>
          <div className="form-section-line">
            <div className="skeleton" style={{ height: 20 }} />
          </div>
          {height > 0 && (
            <div className="form-section-pinned">
              <div className="skeleton" style={{ height }} />
            </div>
          )}
        </section>
      ))}
    </div>
  </div>
);
