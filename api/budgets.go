package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

type budgetsAnswer struct {
	Budgets []budgetRow `json:"budgets"`
	stamp
}

// budgetRow is a budget in one of its periods.
type budgetRow struct {
	ID        string              `json:"id"`
	Name      string              `json:"name"`
	Owner     string              `json:"owner"`
	Channel   string              `json:"channel"`
	For       map[string][]string `json:"for"`
	Period    string              `json:"period"`
	TimeZone  string              `json:"time_zone"`
	From      string              `json:"from"`
	To        string              `json:"to"`
	Amount    money.Sum           `json:"amount"`
	Spent     figures             `json:"spent"`
	Remaining money.Sum           `json:"remaining"`
	Percent   string              `json:"percent"`
	Soft      []softRow           `json:"soft"`
	Before    beforeRow           `json:"before"`
	Change    money.Sum           `json:"change"`
	Causes    causesRow           `json:"causes"`
	Movements []movementRow       `json:"movements"`
	Forecast  *forecastRow        `json:"forecast"`
}

type softRow struct {
	Percent int  `json:"percent"`
	Crossed bool `json:"crossed"`
}

type beforeRow struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	Spent figures `json:"spent"`
}

type causesRow struct {
	Calls money.Sum `json:"calls"`
	Each  money.Sum `json:"each"`
}

type movementRow struct {
	Dimension string     `json:"dimension"`
	Movers    []moverRow `json:"movers"`
}

type moverRow struct {
	Value  string    `json:"value"`
	Others int       `json:"others"`
	Now    money.Sum `json:"now"`
	Before money.Sum `json:"before"`
	Change money.Sum `json:"change"`
}

type forecastRow struct {
	Amount money.Sum `json:"amount"`
	Days   int       `json:"days"`
	UsedUp *string   `json:"used_up"`
}

// movers are told one by one of each dimension; the others are summed up.
const movers = 10

// budgets is the state of the budgets of the governance folder that the process follows.
func (s *server) budgets(c echo.Context) error {
	p := &params{values: c.QueryParams()}
	ids := p.all("id")
	at := s.Now()
	if text := p.one("on"); text != "" {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil || day.Year() < 2000 || day.Year() > 2199 {
			p.fail(invalid("on", "a day such as 2026-11-01, from 2000 to 2199"))
		}
		at = day.Add(12 * time.Hour) // on that day also east and west of Greenwich
	}
	if err := p.done(); err != nil {
		return err
	}
	if s.Governance == nil {
		return problem(http.StatusNotFound, "no_governance", "this process follows no governance folder; start it with --governance")
	}
	var budgets []*governance.Budget
	for _, b := range s.Governance().Budgets() {
		if len(ids) == 0 || slices.Contains(ids, b.ID) {
			budgets = append(budgets, b)
		}
	}
	r, err := aggregate.Budgets(c.Request().Context(), s.DB, budgets, at)
	if errors.Is(err, aggregate.ErrQuery) {
		return problem(http.StatusConflict, "unknown_time_zone", strings.TrimPrefix(err.Error(), aggregate.ErrQuery.Error()+": "))
	}
	if err != nil {
		return err
	}
	answer := budgetsAnswer{Budgets: []budgetRow{}, stamp: stampOf(r.AsOf)}
	for i := range r.States {
		answer.Budgets = append(answer.Budgets, budgetOf(&r.States[i]))
	}
	return c.JSON(http.StatusOK, answer)
}

func budgetOf(s *aggregate.BudgetState) budgetRow {
	b := s.Budget
	calls, each := s.Causes()
	row := budgetRow{
		ID: b.ID, Name: b.Name, Owner: b.Owner, Channel: b.Channel, For: b.For, Period: b.Period, TimeZone: b.TimeZone.String(),
		From: utc(s.From), To: utc(s.To), Amount: s.Amount(), Spent: figuresOf(s.Spent), Remaining: s.Remaining(), Percent: s.Percent(),
		Before: beforeRow{utc(s.BeforeFrom), utc(s.BeforeTo), figuresOf(s.Before)}, Change: s.Change(), Causes: causesRow{calls, each}, Movements: []movementRow{},
	}
	for _, percent := range b.Soft {
		row.Soft = append(row.Soft, softRow{percent, s.Crossed(percent)})
	}
	for _, m := range s.Movements {
		movement := movementRow{Dimension: m.Dimension, Movers: []moverRow{}}
		for _, mover := range m.Top(movers) {
			movement.Movers = append(movement.Movers, moverRow{mover.Value, mover.Others, mover.Now.Cost, mover.Before.Cost, mover.Change()})
		}
		row.Movements = append(row.Movements, movement)
	}
	if f := s.Forecast; f != nil {
		row.Forecast = &forecastRow{Amount: f.Amount, Days: f.Days}
		if !f.UsedUp.IsZero() {
			day := f.UsedUp.In(b.TimeZone).Format(time.DateOnly)
			row.Forecast.UsedUp = &day
		}
	}
	return row
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

type alertsAnswer struct {
	Alerts []anomaly.AlertStatus `json:"alerts"`
	More   bool                  `json:"more"`
}

// alerts is what people were told and how that went, the newest first.
func (s *server) alerts(c echo.Context) error {
	p := &params{values: c.QueryParams()}
	states := p.choice("state", anomaly.Pending, anomaly.Sending, anomaly.Delivered, anomaly.Dead, anomaly.Covered)
	limit := p.limit()
	if err := p.done(); err != nil {
		return err
	}
	list, err := anomaly.Alerts(c.Request().Context(), s.DB, anomaly.AlertQuery{States: states, Limit: limit + 1})
	if err != nil {
		return err
	}
	answer := alertsAnswer{Alerts: list[:min(len(list), limit)], More: len(list) > limit}
	return c.JSON(http.StatusOK, answer)
}
