-- breaking: no
-- The template that decks are reviewed against unless processing_options.template_id names another.

INSERT INTO analysis_templates (id, name, is_default, definition) VALUES (
    'pitch-review', $template$Pitch deck review$template$, true,
$template${
 "id": "pitch-review",
 "name": "Pitch deck review",
 "chapters": [
  {
   "name": "Problem",
   "weight": 1.0,
   "questions": [
    {
     "question": "Who has the problem, and how many of them are there?",
     "weight": 1.0,
     "hint": "a named group of users, patients, researchers, teams or companies; how many of them"
    },
    {
     "question": "How large is the damage that the problem causes today?",
     "weight": 1.5,
     "hint": "cost, time, deaths, errors or losses in figures"
    },
    {
     "question": "How is the problem handled today, and why is that not enough?",
     "weight": 1.0,
     "hint": "current practice, manual work, existing tools, limits, gap"
    },
    {
     "question": "What shows that those affected want it solved?",
     "weight": 1.0,
     "hint": "interviews, surveys, waiting list, customers who pay, letters of intent"
    }
   ]
  },
  {
   "name": "Solution",
   "weight": 1.0,
   "questions": [
    {
     "question": "What is the product, in terms that an outsider understands?",
     "weight": 1.5,
     "hint": "names the thing itself: device, wearable, patch, software, platform, service; and for whom"
    },
    {
     "question": "How does it work?",
     "weight": 1.0,
     "hint": "method, technology, algorithm, measures, sensor, pipeline, modules, steps"
    },
    {
     "question": "What does it do better than what exists, and by how much?",
     "weight": 1.5,
     "hint": "faster, earlier, cheaper, more accurate, fewer, reduced by, days or percent"
    },
    {
     "question": "How far is the development?",
     "weight": 1.0,
     "hint": "prototype, pilot, validated, certified, cleared, released, in use, tests"
    }
   ]
  },
  {
   "name": "Market and product",
   "weight": 1.0,
   "questions": [
    {
     "question": "How large is the market, and where does the figure come from?",
     "weight": 1.5,
     "hint": "TAM, SAM, SOM, market in billion or million, growth, source"
    },
    {
     "question": "Who are the first customers, and how are they reached?",
     "weight": 1.0,
     "hint": "beachhead, target segment, sales channel, distribution, go-to-market, partners"
    },
    {
     "question": "Who competes, and what sets the company apart?",
     "weight": 1.0,
     "hint": "competitors, alternatives, comparison, differentiation, advantage"
    },
    {
     "question": "What protects the advantage?",
     "weight": 1.0,
     "hint": "patent, intellectual property, data, licence, network effect, trade secret"
    }
   ]
  },
  {
   "name": "Traction",
   "weight": 1.0,
   "questions": [
    {
     "question": "What has been reached so far?",
     "weight": 1.5,
     "hint": "customers, pilots, revenue, users, installations, records, publications in figures"
    },
    {
     "question": "How fast does it grow?",
     "weight": 1.0,
     "hint": "growth per month or year, retention, pipeline"
    },
    {
     "question": "Which milestones come next, and when?",
     "weight": 1.0,
     "hint": "roadmap, next step, quarter, year, launch, approval, milestone"
    }
   ]
  },
  {
   "name": "Team",
   "weight": 1.0,
   "questions": [
    {
     "question": "Who are the founders, and what is each one's role?",
     "weight": 1.0,
     "hint": "CEO, CTO, founder, names, roles"
    },
    {
     "question": "Which experience makes them the right people for this problem?",
     "weight": 1.5,
     "hint": "years in the field, PhD, former positions, earlier companies, exit"
    },
    {
     "question": "What does the team lack, and how will the gap be closed?",
     "weight": 0.5,
     "hint": "hiring, open positions, advisors, board"
    }
   ]
  },
  {
   "name": "Business model",
   "weight": 1.0,
   "questions": [
    {
     "question": "Who pays, for what, and how much?",
     "weight": 1.5,
     "hint": "price, subscription, licence, per use, per month, customer pays, reimbursement"
    },
    {
     "question": "What does a customer cost and bring?",
     "weight": 1.0,
     "hint": "margin, unit economics, acquisition cost, lifetime value, contract value"
    },
    {
     "question": "What keeps customers from leaving?",
     "weight": 0.5,
     "hint": "integration, recurring, retention, contract, switching"
    },
    {
     "question": "What could stop the business, and what is done about it?",
     "weight": 1.0,
     "hint": "risk, regulation, approval, dependency, mitigation"
    }
   ]
  },
  {
   "name": "Finances and use of funds",
   "weight": 1.0,
   "questions": [
    {
     "question": "How much money is asked for, and in which form?",
     "weight": 1.5,
     "hint": "raising, seeking, round, seed, Series A, funding, ask, equity, convertible"
    },
    {
     "question": "What will the money be spent on?",
     "weight": 1.0,
     "hint": "use of funds, percent, clinical trial, product development, sales, hiring, runway in months"
    },
    {
     "question": "Which revenues and costs are planned?",
     "weight": 1.0,
     "hint": "forecast, revenue, costs, break-even, year, burn"
    },
    {
     "question": "What has been invested so far, and by whom?",
     "weight": 0.5,
     "hint": "raised, grant, investors, angels, pre-seed, bootstrapped, non-dilutive"
    }
   ]
  }
 ]
}$template$::jsonb);
